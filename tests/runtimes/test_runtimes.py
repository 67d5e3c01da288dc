"""The same tests on every runtime."""

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from babelclip.benchmark.samples import ALL
from babelclip.checkpoints.layouts import read_image_spec, read_text_spec
from babelclip.errors import InputError, ModelError, WeightsError
from babelclip.graphs import build_image_graph, build_text_graph
from babelclip.models.model import Model
from babelclip.runtimes import RUNTIMES, load_runtime
from babelclip.vectors import cosine


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_published_folder_agrees_with_its_authors_code(runtime: str, published_parity: Any) -> None:
    rows = published_parity.run_parity(published_parity.SMALL, [runtime])
    assert len(rows) == 9
    assert [row for row in rows if not row.holds] == []


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_threads_may_share_a_model(text_folder: Path, runtime: str) -> None:
    model = Model.load(text=text_folder, runtime=runtime)
    texts = [list(ALL[i : i + 5]) for i in range(0, 40, 5)]
    expected = [model.encode_text(batch) for batch in texts]
    with ThreadPoolExecutor(8) as pool:
        for got, want in zip(pool.map(model.encode_text, texts * 3), expected * 3, strict=True):
            np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_result_is_the_callers_to_keep(text_folder: Path, runtime: str) -> None:
    model = Model.load(text=text_folder, runtime=runtime)
    first = model.encode_text(["a dog"], unit=False)
    kept = first.copy()
    model.encode_text(["another"], unit=False)
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_graph_may_scale_its_rows_itself(text_folder: Path, clip_folder: Path, runtime: str) -> None:
    session = load_runtime(runtime).compile(
        build_text_graph(read_text_spec(text_folder), unit=True), precision="float32", threads=1
    )
    ids = np.array([[2, 7, 8, 3], [2, 9, 3, 0]])
    rows = session.run({"ids": ids, "mask": (ids > 0).astype(np.int64)})
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    session = load_runtime(runtime).compile(
        build_image_graph(read_image_spec(clip_folder), unit=True), precision="float32", threads=0
    )
    rows = session.run({"pixels": np.zeros((1, 32, 32, 3), np.uint8)})
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("runtime", RUNTIMES[1:])
def test_runtimes_without_bfloat16_say_so(text_folder: Path, runtime: str) -> None:
    model = Model.load(text=text_folder, runtime=runtime, precision="bfloat16")
    with pytest.raises(InputError, match=f"{runtime} runs in float32 only"):
        model.encode("a")


def test_openvino_in_bfloat16_stays_near_float32(text_folder: Path) -> None:
    exact = Model.load(text=text_folder).encode_text(ALL)
    near = Model.load(text=text_folder, precision="bfloat16").encode_text(ALL)
    assert np.diag(cosine(exact, near)).min() > 0.99


@pytest.mark.parametrize("pooling", ["cls", "max"])
def test_other_poolings_agree_with_sentence_transformers(
    text_folder: Path, tmp_path: Path, pooling: str, reference: Any, parity: Any
) -> None:
    folder = Path(shutil.copytree(text_folder, tmp_path / "m"))
    config = folder / "1_Pooling/config.json"
    config.write_text(config.read_text().replace('"mean"', f'"{pooling}"'))
    row = parity.compare(
        pooling,
        "openvino",
        Model.load(text=folder).encode_text(ALL, unit=False),
        reference.text_vectors(folder, ALL),
    )
    assert row.holds


def test_a_dense_with_bias_and_tanh_agrees_with_sentence_transformers(
    text_folder: Path, tmp_path: Path, reference: Any, parity: Any
) -> None:
    folder = Path(shutil.copytree(text_folder, tmp_path / "m"))
    weights = load_file(folder / "2_Dense/model.safetensors")
    save_file(
        {**weights, "linear.bias": np.linspace(-1, 1, 24, dtype=np.float32)}, folder / "2_Dense/model.safetensors"
    )
    config = folder / "2_Dense/config.json"
    config.write_text(config.read_text().replace('"bias": false', '"bias": true').replace("linear.Identity", "x.Tanh"))
    config.write_text(config.read_text().replace("torch.nn.modules.x.Tanh", "torch.nn.modules.activation.Tanh"))
    ours = Model.load(text=folder).encode_text(ALL, unit=False)
    assert parity.compare("tanh", "openvino", ours, reference.text_vectors(folder, ALL)).holds


@pytest.mark.parametrize("tensor", ["embeddings.word_embeddings.weight", "transformer.layer.1.ffn.lin2.bias"])
def test_weights_without_a_tensor_are_an_error_that_names_it(text_folder: Path, tmp_path: Path, tensor: str) -> None:
    folder = Path(shutil.copytree(text_folder, tmp_path / "m"))
    weights = load_file(folder / "model.safetensors")
    del weights[tensor]
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(WeightsError, match=tensor):
        build_text_graph(read_text_spec(folder))


def test_old_names_and_prefixes_of_tensors_are_understood(tmp_path: Path, reference: Any) -> None:
    reference.save_text_model(tmp_path / "m", ALL, family="bert")
    expected = Model.load(text=tmp_path / "m").encode_text(ALL)
    weights = load_file(tmp_path / "m/model.safetensors")
    old = {
        f"bert.{n}".replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): w
        for n, w in weights.items()
    }
    save_file(old, tmp_path / "m/model.safetensors")
    np.testing.assert_array_equal(Model.load(text=tmp_path / "m").encode_text(ALL), expected)


def test_weights_over_the_limit_of_onnx_are_an_error(text_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("babelclip.runtimes.base.MAX_GRAPH_BYTES", 1000)
    with pytest.raises(ModelError, match="over the 2 GiB"):
        Model.load(text=text_folder, runtime="onnxruntime").encode("a")
    # Compiled towers that are kept get their weights from a file of their own.
    assert Model.load(text=text_folder).encode("a").shape == (24,)


def test_an_unknown_runtime_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match="runtime 'tensorrt' is not known; known are openvino"):
        load_runtime("tensorrt")


@pytest.mark.parametrize("package", ["onnxruntime", "torch"])
def test_a_missing_runtime_is_an_error_with_its_install_line(package: str) -> None:
    code = (
        "import sys, importlib.abc\n"
        "class Gone(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {package!r}: raise ModuleNotFoundError(name, name={package!r})\n"
        "sys.meta_path.insert(0, Gone())\n"
        "from babelclip.runtimes import load_runtime\n"
        f"load_runtime({package!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert f"pip install 'babelclip[{package}]'" in done.stderr


def test_openvino_is_imported_without_what_reports_the_import() -> None:
    code = (
        "import sys; import babelclip.runtimes.openvino; import openvino\n"
        "print('openvino_telemetry' in sys.modules, 'openvino.tools.ovc' in sys.modules)\n"
        "print(hasattr(openvino, 'nothing'), type(openvino.__dict__['__getattr__']).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False", "False", "function"]
