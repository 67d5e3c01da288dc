"""Making a model run in int8: the inputs of its layers are observed on samples, what comes of it is measured on others.

What is written is a babelclip folder with ``int8/text.safetensors`` and ``int8/image.safetensors`` (see
graphs.quantization) and, in babelclip.json under ``int8``, the bound that was measured. A tower that misses it is
refused.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnx
from numpy.typing import NDArray

from babelclip.checkpoints.layouts import MANIFEST, read_image_spec, read_json, read_text_spec
from babelclip.checkpoints.specs import ImageSpec, TextSpec
from babelclip.checkpoints.weights import Storage
from babelclip.errors import ImageError, InputError, ModelError
from babelclip.filesystem import whole_folder
from babelclip.graphs import build_image_graph, build_text_graph
from babelclip.graphs.builder import OBSERVED
from babelclip.graphs.quantization import ActivationRanges, LayerInput, calibrate, write_calibration
from babelclip.media.images import Pixels, read_image, to_pixels
from babelclip.models import registry
from babelclip.models.export import write_manifest, write_model
from babelclip.pipeline import LogCallback, chunks
from babelclip.runtimes import load_runtime
from babelclip.settings import settings
from babelclip.text.tokenizer import TextTokenizer, pad
from babelclip.vectors import FloatArray, unit_rows

TEXTS_AT_ONCE, IMAGES_AT_ONCE = 64, 4
"""Samples whose range is taken together: that of a layer is the mean over such groups, so that one outlier is cut. What
stands out in a text tower is what matters there: groups of 8 gave single rows a cosine of 0.986, these 0.992."""
STRENGTHS = (0.5, 0.6, 0.7, 0.8)
"""Of smoothing; the one with the best least cosine on the observed samples is taken."""
KEPT = (0, 4, 8, 16)
"""Layers, from the first on, that stay in floats until the bound holds: what is lost there goes through all others."""
LEAST_COSINE = 0.99
"""Of every held-out row with the same row in float32."""
FEWEST_SAMPLES = 8
HELD_OUT = 0.25
"""The part of the samples that is measured on."""
SEED = 0

GraphInputs = Mapping[str, NDArray[Any]]
Sample = TypeVar("Sample")


@dataclass(frozen=True, slots=True)
class QuantizationBound:
    """How near int8 comes to float32 on rows that it was not calibrated on: the least and the mean cosine."""

    rows: int
    least: float
    mean: float


@dataclass(frozen=True, slots=True)
class _Tower:
    """A tower, how its graph is built, and what it is observed and measured on, in batches."""

    name: str
    build: Callable[[ActivationRanges | None, bool], onnx.ModelProto]
    observed: list[GraphInputs]
    held_out: list[GraphInputs]


def quantize(
    folders: registry.ModelFolders,
    target: Path,
    texts: Sequence[str],
    pictures: Sequence[Path],
    *,
    storage: Storage = "float16",
    least_cosine: float | None = None,
    runtime: str | None = None,
    log_line: LogCallback | None = None,
) -> dict[str, QuantizationBound]:
    """Write a model that can run in int8, whole or not at all.

    :param folders: the model, a pair
    :param target: the folder to make; it must not be there
    :param texts: samples, in the languages that it shall read; a quarter is measured on instead
    :param pictures: samples; those that cannot be read are left out; a quarter is measured on instead
    :param storage: how the weights are stored; int8 rounds them once more than the int8 graph itself does
    :param least_cosine: the bound of every held-out row; None takes LEAST_COSINE, -1 takes any
    :param runtime: the engine that observes and measures; None takes BABELCLIP_RUNTIME, else openvino
    :param log_line: receives a line when a step starts
    :return: the bound by tower
    :raises InputError: if the target is there already, or there are too few samples
    :raises ModelError: if a tower is missing, or misses the bound; nothing is written then
    """
    calibration = calibrate_towers(
        folders,
        texts,
        pictures,
        least_cosine=LEAST_COSINE if least_cosine is None else least_cosine,
        runtime=runtime,
        log_line=log_line,
    )
    with whole_folder(target) as root:
        write_model(folders, root, storage=storage)
        write_calibrations(root, calibration)
    return {name: bound for name, (_, bound) in calibration.items()}


def calibrate_towers(
    folders: registry.ModelFolders,
    texts: Sequence[str],
    pictures: Sequence[Path],
    *,
    least_cosine: float = LEAST_COSINE,
    runtime: str | None = None,
    log_line: LogCallback | None = None,
) -> dict[str, tuple[ActivationRanges, QuantizationBound]]:
    """Observe both towers of a model, and measure what int8 loses.

    :param folders: the model, a pair
    :param texts: as for quantize
    :param pictures: as for quantize
    :param least_cosine: the bound of every held-out row; -1 takes any
    :param runtime: as for quantize
    :param log_line: receives a line when a step starts
    :return: the calibration and the bound by tower
    :raises InputError: if there are too few samples
    :raises ModelError: if a tower is missing, or misses the bound
    """
    log_line = log_line or (lambda _: None)
    if folders.text is None or folders.image is None:
        raise ModelError(f"{folders.name} lacks a tower; only a pair can be quantized")
    text, image = read_text_spec(folders.text), read_image_spec(folders.image)
    log_line("reading samples")
    decoded = [pixels for path in dict.fromkeys(pictures) if (pixels := _decoded(path, image)) is not None]
    texts = list(dict.fromkeys(texts))
    if len(texts) < FEWEST_SAMPLES or len(decoded) < FEWEST_SAMPLES:
        raise InputError(f"{len(texts)} texts and {len(decoded)} pictures are too few; give {FEWEST_SAMPLES} of each")
    calibrations: dict[str, tuple[ActivationRanges, QuantizationBound]] = {}
    for tower in (_text_tower(text, texts), _image_tower(image, decoded)):
        log_line(f"observing the {tower.name} tower")
        calibrations[tower.name] = _calibrated(tower, runtime or settings().runtime, least_cosine)
    return calibrations


def write_calibrations(folder: Path, calibrations: Mapping[str, tuple[ActivationRanges, QuantizationBound]]) -> None:
    """Let a model folder run in int8.

    :param folder: a folder with babelclip.json, which gets the bounds and the new checksums
    :param calibrations: by tower, as calibrate_towers returns them
    """
    (folder / registry.CALIBRATIONS).mkdir()
    for name, (calibration, _) in calibrations.items():
        write_calibration(folder / registry.CALIBRATIONS / f"{name}.safetensors", calibration)
    manifest = read_json(folder / MANIFEST)
    del manifest["files"]
    write_manifest(folder, {**manifest, "int8": {name: asdict(bound) for name, (_, bound) in calibrations.items()}})


def _decoded(path: Path, spec: ImageSpec) -> Pixels | None:
    """A picture as the tower reads it, or None where it cannot be read."""
    try:
        return to_pixels(read_image(path), spec.pixels)
    except ImageError:
        return None


def _text_tower(spec: TextSpec, texts: Sequence[str]) -> _Tower:
    """The text tower and its samples."""

    def batches(rows: Sequence[Sequence[int]]) -> list[GraphInputs]:
        inputs: list[GraphInputs] = []
        for group in chunks(sorted(rows, key=len), TEXTS_AT_ONCE):
            ids, mask = pad(group, spec.pad_id)
            inputs.append({"ids": ids, "mask": mask})
        return inputs

    observed, held_out = _part(TextTokenizer(spec).encode(texts))
    return _Tower(
        "text",
        lambda calibration, observe: build_text_graph(spec, calibration=calibration, observe=observe),
        batches(observed),
        batches(held_out),
    )


def _image_tower(spec: ImageSpec, pictures: Sequence[Pixels]) -> _Tower:
    """The image tower and its samples."""
    observed, held_out = _part(pictures)
    return _Tower(
        "image",
        lambda calibration, observe: build_image_graph(spec, calibration=calibration, observe=observe),
        [{"pixels": np.stack(group)} for group in chunks(observed, IMAGES_AT_ONCE)],
        [{"pixels": np.stack(group)} for group in chunks(held_out, IMAGES_AT_ONCE)],
    )


def _part(samples: Sequence[Sample]) -> tuple[list[Sample], list[Sample]]:
    """Samples to observe, and samples to measure on, at random but the same every time."""
    order = np.random.default_rng(SEED).permutation(len(samples))
    count = max(1, round(HELD_OUT * len(samples)))
    return [samples[i] for i in order[count:]], [samples[i] for i in order[:count]]


def _calibrated(tower: _Tower, engine: str, least_cosine: float) -> tuple[dict[str, LayerInput], QuantizationBound]:
    """The best calibration of a tower, and its bound; a ModelError where it misses that."""
    seen = _observe(tower.build(None, True), tower.observed, engine)
    exact = tower.build(None, False)
    wanted, wanted_held = _run(exact, tower.observed, engine), _run(exact, tower.held_out, engine)

    def tried(calibration: ActivationRanges) -> QuantizationBound:
        return _bound(wanted, _run(tower.build(calibration, False), tower.observed, engine))

    smoothed = []
    for strength in STRENGTHS:
        calibration = {name: calibrate(*observed, strength) for name, observed in seen.items()}
        smoothed.append((tried(calibration), calibration))
        if all(layer.smooth is None for layer in calibration.values()):
            break
    reached, whole = calibrated = max(smoothed, key=lambda pair: pair[0].least)
    for kept in KEPT[1:]:
        if reached.least >= least_cosine or kept >= len(whole):
            break
        calibration = dict(list(whole.items())[kept:])
        reached = tried(calibration)
        calibrated = max(calibrated, (reached, calibration), key=lambda pair: pair[0].least)
    _, calibration = calibrated
    bound = _bound(wanted_held, _run(tower.build(calibration, False), tower.held_out, engine))
    if not bound.least >= least_cosine:
        raise ModelError(
            f"the {tower.name} tower in int8 misses its bound: the least cosine with float32 of {bound.rows} rows is "
            f"{bound.least:.4f}, under {least_cosine}"
        )
    return calibration, bound


def _run(graph: onnx.ModelProto, batches: Iterable[GraphInputs], engine: str) -> FloatArray:
    """The unit rows that a graph gives for all batches."""
    session = load_runtime(engine).compile(graph, precision="float32", threads=settings().threads)
    return unit_rows(np.concatenate([session.run(inputs) for inputs in batches]))


def _bound(exact: FloatArray, compact: FloatArray) -> QuantizationBound:
    """How near unit rows come to unit rows."""
    cosines = (exact * compact).sum(axis=1)
    return QuantizationBound(len(cosines), float(cosines.min()), float(cosines.mean()))


def _observe(
    graph: onnx.ModelProto, batches: Iterable[GraphInputs], engine: str
) -> dict[str, tuple[FloatArray, FloatArray, FloatArray, FloatArray | None]]:
    """What calibrate needs of every layer: lows, highs, mean, and the largest weights of a matrix."""
    layers: list[tuple[str, str, int, bool]] = json.loads(
        next(entry.value for entry in graph.metadata_props if entry.key == OBSERVED)
    )
    session = load_runtime(engine).compile(graph, precision="float32", threads=settings().threads)
    seen = np.stack([session.run(inputs)[0] for inputs in batches])
    statistics: dict[str, tuple[FloatArray, FloatArray, FloatArray]] = {}
    reach: dict[str, FloatArray] = {}
    start = 0
    for name, value, channels, matrix in layers:
        columns = seen[:, start : start + channels * (3 + matrix)]
        start += columns.shape[1]
        lows, highs, means, weights = np.split(columns, [channels, 2 * channels, 3 * channels], axis=1)
        statistics[name] = lows, highs, means.mean(axis=0, dtype=np.float64).astype(np.float32)
        if matrix:
            # Layers that read the same value share its rounding.
            reach[value] = np.maximum(reach[value], weights[0]) if value in reach else weights[0]
    return {name: (*statistics[name], reach.get(value) if matrix else None) for name, value, _, matrix in layers}
