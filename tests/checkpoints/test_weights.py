from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from babelclip.checkpoints.weights import compact_rows, read_weights, write_weights
from babelclip.errors import WeightsError


def test_half_types_come_back_as_float32_and_whole_numbers_are_left_out(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file as save_torch_file

    state = {"h": torch.ones(2).half(), "b": torch.full((3,), 1.5).bfloat16(), "position_ids": torch.arange(4)}
    save_torch_file(state, tmp_path / "model.safetensors")
    weights = read_weights(tmp_path)
    assert set(weights) == {"h", "b"}
    assert weights["b"].dtype == np.float32
    assert weights["b"].tolist() == [1.5] * 3


def test_shards_are_read_as_one(tmp_path: Path) -> None:
    save_file({"a": np.ones(2, np.float32)}, tmp_path / "model-00001-of-00002.safetensors")
    save_file({"b": np.zeros(2, np.float32)}, tmp_path / "model-00002-of-00002.safetensors")
    index = '{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}'
    (tmp_path / "model.safetensors.index.json").write_text(index)
    assert set(read_weights(tmp_path)) == {"a", "b"}


def test_a_shard_outside_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../secret.safetensors"}}')
    with pytest.raises(WeightsError, match="outside its folder"):
        read_weights(tmp_path)


def test_a_folder_without_weights_is_an_error_that_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"neither model\.safetensors nor pytorch_model\.bin"):
        read_weights(tmp_path)


def test_a_damaged_safetensors_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(WeightsError, match=r"model\.safetensors cannot be read"):
        read_weights(tmp_path)


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    write_weights(tmp_path / "model.safetensors", {"a": np.ones((2, 2), np.float32)})
    with pytest.raises(WeightsError, match="has no tensor 'b'"):
        read_weights(tmp_path)["b"]


@pytest.mark.parametrize(("storage", "error"), [("float32", 0.0), ("float16", 1e-3), ("int8", 1 / 254)])
def test_what_is_written_is_read_within_the_step_of_its_storage(tmp_path: Path, storage: str, error: float) -> None:
    rng = np.random.default_rng(0)
    arrays = {"m": rng.uniform(-1, 1, (80, 70)).astype(np.float32), "b": rng.normal(size=80).astype(np.float32)}
    write_weights(tmp_path / "model.safetensors", arrays, storage)  # type: ignore[arg-type]
    back = read_weights(tmp_path)
    assert set(back) == {"m", "b"}
    assert np.abs(back["m"] - arrays["m"]).max() <= error * 1.01
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_each_row_has_its_own_scale_and_a_zero_row_stays_zero() -> None:
    array = np.array([[1, -0.5], [0.01, 0.002], [0, 0]], dtype=np.float32)
    quantised, scale = compact_rows(array)
    assert np.abs(quantised).max(axis=1).tolist() == [127, 127, 0]
    np.testing.assert_allclose(quantised * scale[:, None], array, atol=0.5 / 127)


def test_int8_without_its_scale_is_an_error(tmp_path: Path) -> None:
    save_file({"m": np.ones((3, 3), np.int8)}, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match="has no scale"):
        read_weights(tmp_path)
