import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from tokenizers import Tokenizer

from babelclip.benchmark.samples import ALL
from babelclip.errors import InputError, ModelError
from babelclip.models import hub, registry
from babelclip.models.export import export_folder
from babelclip.models.export_graphs import FACTS, TOLERANCE, GraphFormat, export_graphs
from babelclip.models.model import Model
from babelclip.runtimes import load_runtime
from babelclip.runtimes.openvino import RUNTIME as OPENVINO
from babelclip.text.tokenizer import pad
from babelclip.vectors import unit_rows


@pytest.fixture
def folders(text_folder: Path, clip_folder: Path) -> registry.ModelFolders:
    return registry.ModelFolders("pair", text_folder, clip_folder, {})


def test_an_exported_folder_gives_the_same_vectors(
    folders: registry.ModelFolders, pair: Model, photos: Path, tmp_path: Path
) -> None:
    export_folder(folders, tmp_path / "out", facts={"name": "mine", "licence": "MIT"})
    model = Model.load(tmp_path / "out")
    np.testing.assert_allclose(model.encode_text(ALL), pair.encode_text(ALL), atol=1e-6)
    np.testing.assert_allclose(model.encode(photos / "a.jpg"), pair.encode(photos / "a.jpg"), atol=1e-6)
    manifest = json.loads((tmp_path / "out/babelclip.json").read_text())
    assert (manifest["name"], manifest["licence"], manifest["dimension"]) == ("mine", "MIT", 24)
    assert hub.damaged_files(tmp_path / "out") == []


def test_the_exported_text_folder_opens_in_sentence_transformers_and_agrees(
    folders: registry.ModelFolders, tmp_path: Path, reference: Any, parity: Any
) -> None:
    export_folder(folders, tmp_path / "out")
    theirs = reference.text_vectors(tmp_path / "out/text", ALL)
    ours = Model.load(tmp_path / "out").encode_text(ALL, unit=False)
    assert parity.compare("export", "openvino", ours, theirs).holds


def test_a_published_pair_is_exported_from_its_old_forms(
    reference_clip_folder: Path, tmp_path: Path, reference: Any
) -> None:
    reference.save_as_clip_vit_b_32(reference_clip_folder, tmp_path / "st")
    export_folder(registry.ModelFolders("pair", tmp_path / "st", tmp_path / "st", {}), tmp_path / "out")
    expected = Model.load(reference_clip_folder).encode_text(ALL)
    np.testing.assert_allclose(Model.load(tmp_path / "out").encode_text(ALL), expected, atol=1e-6)


def test_the_compact_form_is_small_and_near(folders: registry.ModelFolders, pair: Model, tmp_path: Path) -> None:
    export_folder(folders, tmp_path / "full")
    export_folder(folders, tmp_path / "small", storage="int8")
    sizes = [(tmp_path / name / "text/model.safetensors").stat().st_size for name in ("full", "small")]
    assert sizes[1] < 0.6 * sizes[0]
    near = Model.load(tmp_path / "small").encode_text(ALL)
    assert np.sum(near * pair.encode_text(ALL), axis=1).min() > 0.99


def test_an_export_never_overwrites(folders: registry.ModelFolders, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="is there already"):
        export_folder(folders, tmp_path / "out")


def test_an_export_that_fails_leaves_nothing(clip_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="lacks a tower"):
        export_folder(registry.ModelFolders("half", None, clip_folder, {}), tmp_path / "out")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{}")
    with pytest.raises(ModelError):
        export_folder(registry.ModelFolders("broken", broken, clip_folder, {}), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["broken"]


@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_graph_files_give_unit_rows_of_the_torch_model(
    reference_clip_folder: Path, reference_text_folder: Path, tmp_path: Path, form: GraphFormat, reference: Any
) -> None:
    folders = registry.ModelFolders("pair", reference_text_folder, reference_clip_folder, {})
    differences = export_graphs(folders, tmp_path / "out", form)
    assert set(differences) == {"text", "image"}
    assert max(differences.values()) <= TOLERANCE
    facts = json.loads((tmp_path / "out" / FACTS).read_text(encoding="utf-8"))
    tokenizer = Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json"))
    tokenizer.enable_truncation(facts["text"]["max_length"])
    ids, mask = pad([tokenizer.encode(text).ids for text in ALL[:40]], facts["text"]["pad_id"])
    if form == "onnx":
        session = load_runtime("onnxruntime").compile(
            onnx.load(tmp_path / "out" / "text.onnx"), precision="float32", threads=0
        )
    else:
        session = OPENVINO.open(tmp_path / "out" / "text.xml")
    theirs = unit_rows(reference.text_vectors(reference_text_folder, ALL[:40]))
    assert np.abs(session.run({"ids": ids, "mask": mask}) - theirs).max() <= TOLERANCE


def test_graph_files_never_overwrite(text_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="is there already"):
        export_graphs(registry.ModelFolders("text", text_folder, None, {}), tmp_path / "out", "onnx")
