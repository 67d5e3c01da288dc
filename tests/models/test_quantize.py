"""int8: layers calibrated on samples, the loss measured on others, and the same graph on both engines."""

import json
from pathlib import Path

import numpy as np
import onnx
import openvino
import pytest
from PIL import Image
from safetensors.numpy import save_file
from typer.testing import CliRunner

from babelclip.benchmark.samples import ALL
from babelclip.checkpoints.weights import Weights, compact_rows
from babelclip.cli.app import APP
from babelclip.errors import InputError, ModelError, WeightsError
from babelclip.graphs.builder import GraphBuilder
from babelclip.graphs.layers import linear, linear_bytes
from babelclip.graphs.quantization import LayerInput, calibrate, read_calibration, write_calibration
from babelclip.models import precision, registry
from babelclip.models.export import export_folder
from babelclip.models.model import Model
from babelclip.models.quantize import quantize
from babelclip.models.registry import ModelFolders
from babelclip.runtimes import load_runtime
from babelclip.vectors import FloatArray

TEXTS = [text for text in ALL if text.strip()][:80]


@pytest.fixture
def samples(tmp_path: Path) -> list[Path]:
    """Pictures of noise, coarse to fine."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "samples"
    folder.mkdir()
    for number in range(24):
        side = 2 + number % 9
        pixels = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((64, 64)).save(folder / f"{number:02}.png")
    return sorted(folder.iterdir())


@pytest.fixture
def folders(text_folder: Path, clip_folder: Path) -> ModelFolders:
    return ModelFolders("pair", text_folder, clip_folder, {})


@pytest.fixture
def compact(folders: ModelFolders, samples: list[Path], tmp_path: Path) -> Path:
    bounds = quantize(folders, tmp_path / "compact", TEXTS, samples)
    assert min(bound.least for bound in bounds.values()) > 0.99
    return tmp_path / "compact"


@pytest.mark.slow
@pytest.mark.parametrize("runtime", precision.INT8_RUNTIMES)
def test_int8_stays_near_float32_on_both_engines(
    compact: Path, folders: ModelFolders, samples: list[Path], runtime: str
) -> None:
    exact = Model.load(text=folders.text, image=folders.image)
    near = Model.load(compact, precision="int8", runtime=runtime)
    texts, pictures = list(ALL), samples
    for one, other in (
        (exact.encode_text(texts), near.encode_text(texts)),
        (exact.encode_images(pictures), near.encode_images(pictures)),
    ):
        cosines = (one * other).sum(axis=1)
        assert cosines.min() > 0.98
        assert not np.allclose(one, other, atol=1e-6)


def test_the_folder_states_its_bound_and_is_whole(compact: Path) -> None:
    manifest = json.loads((compact / "babelclip.json").read_text(encoding="utf-8"))
    assert manifest["int8"]["text"]["rows"] == 20
    assert manifest["int8"]["image"]["least"] > 0.99
    assert {"int8/text.safetensors", "int8/image.safetensors"} <= manifest["files"].keys()
    export_folder(registry.find(str(compact)), compact.parent / "exported")
    assert "int8" not in json.loads((compact.parent / "exported/babelclip.json").read_text(encoding="utf-8"))


def test_towers_of_a_calibrated_folder_may_be_named_one_by_one(compact: Path) -> None:
    model = Model.load(text=compact, image=compact, precision="int8")
    assert model.precision("text").int8
    assert model.encode_text("a").shape == (24,)


def test_a_model_that_misses_its_bound_is_refused_and_nothing_is_written(
    folders: ModelFolders, samples: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("babelclip.models.quantize.LEAST_COSINE", 1.1)
    with pytest.raises(ModelError, match="misses its bound"):
        quantize(folders, tmp_path / "out", TEXTS, samples)
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_quantized_is_an_error(folders: ModelFolders, samples: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="too few"):
        quantize(folders, tmp_path / "out", TEXTS[:3], samples)
    with pytest.raises(ModelError, match="lacks a tower"):
        quantize(ModelFolders("half", folders.text, None, {}), tmp_path / "out", TEXTS, samples)


def test_the_command_writes_the_folder_and_tells_the_bound(
    samples: list[Path], clip_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    arguments = [str(clip_folder), str(tmp_path / "out"), "--texts", str(tmp_path / "texts.txt")]
    arguments += ["--images", str(samples[0].parent), "--json"]
    result = CliRunner().invoke(APP, ["quantize", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    assert json.loads(result.stdout)["image"]["rows"] == 6
    assert "image" in registry.find(str(tmp_path / "out")).calibrations


def test_a_calibration_is_written_and_read(tmp_path: Path) -> None:
    mean = np.zeros(3, np.float32)
    calibration = {"a": LayerInput(-1.0, 2.5, mean, np.ones(3, np.float32)), "b": LayerInput(0.0, 6.0, mean)}
    path = tmp_path / "c.safetensors"
    write_calibration(path, calibration)
    found = read_calibration(path)
    assert (found["b"].low, found["b"].high, found["b"].smooth) == (0.0, 6.0, None)
    assert (found["a"].low, found["a"].high) == (-1.0, 2.5)
    write_calibration(path, {"a": LayerInput(float("nan"), 1.0, mean)})
    with pytest.raises(WeightsError, match="layer 'a' is damaged"):
        read_calibration(path)
    save_file({"a.range": np.zeros(2, np.float32)}, path)
    with pytest.raises(WeightsError, match="format None"):
        read_calibration(path)
    path.write_bytes(b"damaged")
    with pytest.raises(WeightsError, match=r"c\.safetensors cannot be read"):
        read_calibration(path)


def test_smoothing_evens_out_the_channels_of_an_input() -> None:
    lows = np.array([[-1, -50, -2], [-1, -30, -2]], np.float32)
    highs = np.array([[1, 10, 3], [1, 10, 5]], np.float32)
    mean, weight = np.zeros(3, np.float32), np.array([0.1, 0.1, 0.2], np.float32)
    own = calibrate(lows, highs, mean, weight, 0.5)
    assert own.smooth is not None
    smooth = np.sqrt(np.array([1 / 0.1, 40 / 0.1, 4 / 0.2]))
    smooth /= np.exp(np.log(smooth).mean())
    smooth = np.maximum(smooth, np.quantile(smooth, 0.1))
    assert np.allclose(own.smooth, smooth, rtol=1e-5)
    assert own.low == pytest.approx((lows / smooth).min(axis=1).mean(), rel=1e-5)
    assert calibrate(lows, highs, mean, None, 0.5).low == pytest.approx(-40)
    assert calibrate(highs, highs + 1, mean, None, 0.5).low == 0


def planted(rng: np.random.Generator) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Inputs with one channel a hundred times the others, a weight and a bias."""
    x = rng.standard_normal((64, 32)).astype(np.float32)
    x[:, 3] *= 100
    weight: FloatArray = (rng.standard_normal((16, 32)) / 6).astype(np.float32)
    return x, weight, rng.standard_normal(16).astype(np.float32)


def layer_graph(weight: FloatArray, bias: FloatArray, calibration: dict[str, LayerInput] | None) -> onnx.ModelProto:
    g = GraphBuilder(calibration)
    x = g.input("x", onnx.TensorProto.FLOAT, ["n", weight.shape[1]])
    weights = Weights({"layer.weight": weight, "layer.bias": bias}, Path())
    return g.model(linear(g, x, weights, "layer"), len(bias), "layer")


@pytest.mark.parametrize("runtime", precision.INT8_RUNTIMES)
def test_a_channel_of_outliers_is_smoothed_away(runtime: str) -> None:
    x, weight, bias = planted(np.random.default_rng(0))
    errors = []
    for reach in (np.abs(weight).max(axis=0), None):
        own = calibrate(x.min(axis=0)[None], x.max(axis=0)[None], x.mean(axis=0), reach, 0.7)
        session = load_runtime(runtime).compile(
            layer_graph(weight, bias, {"layer": own}), precision="float32", threads=1
        )
        quiet = x.copy()
        quiet[:, 3] = 0
        errors.append(np.abs(session.run({"x": quiet}) - (quiet @ weight.T + bias)).mean())
    smoothed, plain = errors
    assert smoothed < plain / 3


def test_the_mean_output_survives_the_rounding_of_the_weights() -> None:
    rng = np.random.default_rng(0)
    weight, bias = rng.standard_normal((16, 32)).astype(np.float32), np.zeros(16, np.float32)
    x = (5 + 0.01 * rng.standard_normal((64, 32))).astype(np.float32)
    own = calibrate(x.min(axis=0)[None], x.max(axis=0)[None], x.mean(axis=0), None, 0.5)
    session = load_runtime("onnxruntime").compile(
        layer_graph(weight, bias, {"layer": own}), precision="float32", threads=1
    )
    rows, scales = compact_rows(weight)
    wanted = (x @ weight.T).mean(axis=0)
    uncorrected = (x @ (rows * scales[:, None]).T).mean(axis=0)
    found = session.run({"x": x}).mean(axis=0)
    assert np.abs(found - wanted).mean() < 0.5 * np.abs(uncorrected - wanted).mean()


def test_a_calibration_of_another_model_is_an_error() -> None:
    x, weight, bias = planted(np.random.default_rng(0))
    own = LayerInput(-1.0, 1.0, x.mean(axis=0)[:5], np.ones(5, np.float32))
    with pytest.raises(WeightsError, match="'layer' is of"):
        layer_graph(weight, bias, {"layer": own})


def test_openvino_runs_the_layers_in_int8() -> None:
    x, weight, bias = planted(np.random.default_rng(0))
    own = calibrate(x.min(axis=0)[None], x.max(axis=0)[None], x.mean(axis=0), np.abs(weight).max(axis=0), 0.5)
    graph = layer_graph(weight, bias, {"layer": own})
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(graph.SerializeToString()), "CPU")
    kinds = {
        node.get_rt_info()["layerType"].astype(str): node.get_rt_info()["runtimePrecision"].astype(str)
        for node in compiled.get_runtime_model().get_ops()
    }
    assert kinds["FullyConnected"] in ("u8", "i8")


def test_the_patches_of_a_picture_are_multiplied_as_the_bytes_they_are() -> None:
    rng = np.random.default_rng(0)
    weight, bias = rng.standard_normal((4, 12), dtype=np.float32), np.ones(4, np.float32)
    pixels = rng.integers(0, 256, (5, 12), dtype=np.uint8)
    g = GraphBuilder({"patches": LayerInput(0.0, 255.0, pixels.mean(axis=0, dtype=np.float32))})
    graph = g.model(
        linear_bytes(g, g.input("x", onnx.TensorProto.UINT8, ["n", 12]), weight, bias, "patches"), 4, "bytes"
    )
    assert "QuantizeLinear" not in {node.op_type for node in graph.graph.node}
    given = load_runtime("openvino").compile(graph, precision="float32", threads=0).run({"x": pixels})
    rounding = np.abs(weight).max(axis=1) / 127 / 2 * pixels.sum(axis=1, keepdims=True, dtype=np.float64)
    assert (np.abs(given - (pixels @ weight.T + bias)) <= rounding).all()


@pytest.mark.parametrize(
    ("asked", "runtime", "calibrated", "words", "int8", "chosen"),
    [
        ("auto", "openvino", True, ("BF16",), True, "int8"),
        ("auto", "openvino", True, ("BF16",), None, "int8"),
        ("auto", "openvino", True, ("BF16",), False, "bfloat16"),
        ("auto", "openvino", True, (), False, "float32"),
        ("auto", "openvino", False, ("BF16",), True, "bfloat16"),
        ("auto", "openvino", False, (), True, "float32"),
        ("auto", "onnxruntime", False, (), True, "float32"),
        ("auto", "torch", True, (), True, "float32"),
        ("float32", "openvino", True, ("BF16",), True, "float32"),
        ("int8", "onnxruntime", True, (), False, "int8"),
    ],
)
def test_auto_takes_the_fastest_that_is_there(
    asked: precision.Precision, runtime: str, calibrated: bool, words: tuple[str, ...], int8: bool | None, chosen: str
) -> None:
    choice = precision.plan_precision(asked, runtime, calibrated=calibrated, capabilities=words, int8=int8)
    assert choice.name == chosen
    assert choice.why


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("model name: x\nflags\t\t: fpu avx2 avx512_vnni\n", True),
        ("Features\t: fp asimd asimddp\n", True),
        ("flags\t\t: fpu avx2 avx512f\n", False),
        ("cpu: unknown\n", None),
    ],
)
def test_int8_hardware_is_read_off_the_processors_flags(tmp_path: Path, said: str, wanted: bool | None) -> None:
    (tmp_path / "cpuinfo").write_text(said)
    assert precision.int8_hardware(tmp_path / "cpuinfo") is wanted
    assert precision.int8_hardware(tmp_path / "none") is None


@pytest.mark.torch
def test_int8_without_a_calibration_or_on_another_engine_is_an_error(text_folder: Path) -> None:
    with pytest.raises(ModelError, match="babelclip quantize"):
        Model.load(text=text_folder, precision="int8").encode("a")
    with pytest.raises(InputError, match="torch has no int8"):
        Model.load(text=text_folder, precision="int8", runtime="torch").encode("a")
