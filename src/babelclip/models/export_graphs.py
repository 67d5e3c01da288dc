"""Towers as graph files that other programs run: ONNX, or OpenVINO's own form; pooling, Dense and unit length inside.

text.onnx or text.xml + .bin     ids, mask int64 (n, s) -> vectors float32 (n, d), unit rows
image.onnx or image.xml + .bin   pixels uint8 (n, height, width, 3) -> vectors float32 (n, d), unit rows
tokenizer.json                   turns texts into ids; pad with the id and cut at the length that graphs.json gives
graphs.json                      the facts of both, and how near each file came to the model when it was written
"""

import json
import shutil
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx

from babelclip.checkpoints.layouts import read_image_spec, read_text_spec
from babelclip.checkpoints.specs import ImageSpec, TextSpec
from babelclip.errors import ModelError
from babelclip.filesystem import whole_folder
from babelclip.graphs import build_image_graph, build_text_graph
from babelclip.models.registry import ModelFolders
from babelclip.runtimes import Session, load_runtime
from babelclip.runtimes.openvino import RUNTIME as OPENVINO
from babelclip.text.tokenizer import TextTokenizer, pad

GraphFormat = Literal["onnx", "openvino"]

FACTS = "graphs.json"
TOLERANCE = 1e-4
"""The largest difference of a number of a unit row between a file and the model that it was written from."""

_TEXTS = ("", "a dog", "Ein großer Hund läuft am Strand", "海滩上的狗", "собака на пляже", "dog " * 40)
_PICTURES = 4


def export_graphs(folders: ModelFolders, target: Path, graph_format: GraphFormat) -> dict[str, float]:
    """Write the towers of a model as graph files, whole or not at all, and run them against the model.

    :param folders: the model; one tower is enough
    :param target: the folder to make; it must not be there
    :param graph_format: "onnx" or "openvino"
    :return: tower -> the largest difference from the model's own unit rows, as measured on the written file
    :raises InputError: if the target is there already
    :raises ModelError: if a file gives other vectors than the model
    """
    differences: dict[str, float] = {}
    facts: dict[str, Any] = {"model": Path(folders.name).name, "form": graph_format}
    with whole_folder(target) as root:
        if folders.text is not None:
            text = read_text_spec(folders.text)
            graph = build_text_graph(text, unit=True)
            differences["text"] = _write(graph, root, "text", graph_format, _text_inputs(text))
            facts["text"] = _text_facts(text)
            if (text.tokenizer_folder / "tokenizer.json").is_file():
                shutil.copyfile(text.tokenizer_folder / "tokenizer.json", root / "tokenizer.json")
        if folders.image is not None:
            image = read_image_spec(folders.image)
            graph = build_image_graph(image, unit=True)
            differences["image"] = _write(graph, root, "image", graph_format, _image_inputs(image))
            height, width, _ = image.pixels.shape
            facts["image"] = {"dimension": image.dimension, "height": height, "width": width}
        for tower, difference in differences.items():
            facts[tower]["difference"] = difference
            if not difference <= TOLERANCE:
                raise ModelError(f"the {tower} file differs from the model by {difference:.2g}, over {TOLERANCE:g}")
        (root / FACTS).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return differences


def _text_facts(spec: TextSpec) -> dict[str, Any]:
    """What a program needs to know to feed the text graph."""
    return {
        "dimension": spec.dimension,
        "pad_id": spec.pad_id,
        "max_length": spec.max_length,
        "lowercase": spec.lowercase,
        "prompt": spec.prompt,
    }


def _text_inputs(spec: TextSpec) -> dict[str, Any]:
    """Texts of many lengths as one padded batch."""
    ids, mask = pad(TextTokenizer(spec).encode(_TEXTS), spec.pad_id)
    return {"ids": ids, "mask": mask}


def _image_inputs(spec: ImageSpec) -> dict[str, Any]:
    """Pictures of noise, coarse to fine."""
    rng = np.random.default_rng(0)
    height, width, channels = spec.pixels.shape
    pictures = []
    for number in range(_PICTURES):
        block = 4**number
        coarse = rng.integers(0, 256, (-(-height // block), -(-width // block), channels), dtype=np.uint8)
        pictures.append(np.kron(coarse, np.ones((block, block, 1), np.uint8))[:height, :width])
    return {"pixels": np.stack(pictures)}


def _write(graph: onnx.ModelProto, root: Path, tower: str, graph_format: GraphFormat, inputs: dict[str, Any]) -> float:
    """Write one graph, run it from its file, and say how far it is from the graph itself run by the default engine."""
    wanted = OPENVINO.compile(graph, precision="float32", threads=0).run(inputs)
    output = _save(graph, root, tower, graph_format).run(inputs)
    return float(np.abs(output - wanted).max())


def _save(graph: onnx.ModelProto, root: Path, tower: str, graph_format: GraphFormat) -> Session:
    """Write one graph and open what was written."""
    if graph_format == "openvino":
        OPENVINO.save(graph, root / f"{tower}.xml")
        return OPENVINO.open(root / f"{tower}.xml")
    onnx.save(graph, root / f"{tower}.onnx")
    written = onnx.load(root / f"{tower}.onnx")
    onnx.checker.check_model(written)
    return load_runtime("onnxruntime").compile(written, precision="float32", threads=0)
