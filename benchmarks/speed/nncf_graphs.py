"""The same graphs as NNCF quantizes them, to hold our own int8 against."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from babelclip.checkpoints.layouts import read_image_spec, read_text_spec
from babelclip.filesystem import whole_folder
from babelclip.graphs import build_image_graph, build_text_graph
from babelclip.models.model import Model
from babelclip.pipeline import chunks
from babelclip.runtimes.base import serialized
from babelclip.runtimes.openvino import RUNTIME
from babelclip.text.tokenizer import pad
from babelclip.vectors import FloatArray, unit_rows
from benchmarks.speed.fixtures import SAMPLE_TEXTS, Fixtures
from benchmarks.speed.work import Encoders

SAMPLES_AT_ONCE = 4

Inputs = Mapping[str, NDArray[Any]]


def open_nncf(task: str, fixtures: Fixtures) -> Encoders:
    """A tower quantized by NNCF on the samples that ours is calibrated on, run as ours is.

    :param task: text, query, images or tower
    :param fixtures: where the pair is
    :return: what the tower does
    :raises ImportError: if NNCF is not installed
    """
    model = Model.load(text=fixtures.text, image=fixtures.image)
    tokenizer, spec = model.tokenizer, read_text_spec(fixtures.text)

    def ids(texts: list[str]) -> Inputs:
        padded, mask = pad(tokenizer.encode(texts), spec.pad_id)
        return {"ids": padded, "mask": mask}

    def pixels(pictures: list[Any]) -> Inputs:
        return {"pixels": np.stack([model.pixels(picture) for picture in pictures])}

    tower = "text" if task in ("text", "query") else "image"
    folder = fixtures.root / f"nncf-{tower}"
    if not folder.is_dir():
        groups = (
            [ids(group) for group in chunks(fixtures.texts(0, SAMPLE_TEXTS), SAMPLES_AT_ONCE)]
            if tower == "text"
            else [pixels(group) for group in chunks(sorted((fixtures.root / "samples").iterdir()), SAMPLES_AT_ONCE)]
        )
        _quantize(fixtures, tower, groups, folder)
    session = RUNTIME.open(folder / "graph.xml")

    def texts(items: list[str]) -> FloatArray:
        return unit_rows(session.run(ids(items)))

    def pictures(items: list[Any]) -> FloatArray:
        return unit_rows(session.run(pixels(items)))

    return Encoders(texts, None) if tower == "text" else Encoders(None, pictures)


def _quantize(fixtures: Fixtures, tower: str, samples: list[Inputs], folder: Path) -> None:
    """Write the graph of a tower as NNCF quantizes transformers."""
    import nncf
    import openvino

    graph = (
        build_text_graph(read_text_spec(fixtures.text))
        if tower == "text"
        else build_image_graph(read_image_spec(fixtures.image))
    )
    quantized = nncf.quantize(
        openvino.Core().read_model(serialized(graph)),
        nncf.Dataset(samples),
        model_type=nncf.ModelType.TRANSFORMER,
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(samples),
    )
    with whole_folder(folder) as root:
        openvino.save_model(quantized, root / "graph.xml", compress_to_fp16=False)
