import contextlib
import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from babelclip.checkpoints.torch_pickle import read_torch_pickle
from babelclip.errors import UnsafeWeightsError, WeightsError

FORMS = [pytest.param(True, id="archive"), pytest.param(False, id="stream")]


def save(content: object, path: Path, *, archive: bool = True) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=archive)
    return path


@pytest.mark.parametrize("archive", FORMS)
def test_every_stored_type_comes_back(tmp_path: Path, archive: bool) -> None:
    state = OrderedDict(
        f32=torch.randn(3, 4),
        f64=torch.randn(2).double(),
        f16=torch.randn(2, 2).half(),
        bf16=torch.randn(5).bfloat16(),
        i64=torch.arange(4),
        i32=torch.arange(4).int(),
        u8=torch.arange(4).byte(),
        flag=torch.tensor([True, False]),
        scalar=torch.tensor(2.5),
        none=torch.empty(0, 3),
        parameter=torch.nn.Parameter(torch.randn(2)),
    )
    arrays = read_torch_pickle(save(state, tmp_path / "w.bin", archive=archive))
    assert arrays.keys() == state.keys()
    for name, tensor in state.items():
        expected = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).detach().numpy()
        np.testing.assert_array_equal(arrays[name], expected)


@pytest.mark.parametrize("archive", FORMS)
def test_views_of_one_storage_are_read_as_they_look(tmp_path: Path, archive: bool) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    state = {"whole": base, "turned": base.T, "middle": base[1:, 2], "column": base[:, :1]}
    arrays = read_torch_pickle(save(state, tmp_path / "w.bin", archive=archive))
    for name, tensor in state.items():
        np.testing.assert_array_equal(arrays[name], tensor.numpy())


class Evil:
    """Runs a function of one's choice when it is unpickled by pickle itself."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("archive", FORMS)
def test_a_malicious_pickle_is_refused_and_nothing_of_it_runs(tmp_path: Path, archive: bool) -> None:
    victim = tmp_path / "victim"
    path = save({"w": torch.ones(2), "x": Evil(victim)}, tmp_path / "w.bin", archive=archive)
    with pytest.raises(UnsafeWeightsError, match=r"w\.bin is refused: it asks for .*nothing of it was run"):
        read_torch_pickle(path)
    assert not victim.exists()


@pytest.mark.parametrize(
    "program", [b"cos\nsystem\n(S'true'\ntR.", b"cbuiltins\neval\n(S'1'\ntR.", b"ctorch\nload\n(S'x'\ntR."]
)
def test_a_hand_written_program_is_refused(tmp_path: Path, program: bytes) -> None:
    path = tmp_path / "w.bin"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", program)
    with pytest.raises(UnsafeWeightsError, match="is refused"):
        read_torch_pickle(path)


def archive_with(path: Path, data: bytes, storage: bytes, *, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/data/0", storage)
    return path


class Forger(pickle.Pickler):
    """Writes the pickle of one float tensor with any sizes one likes."""

    def __init__(self, file: io.BytesIO, elements: int) -> None:
        super().__init__(file, protocol=2)
        self.elements = elements

    def persistent_id(self, obj: Any) -> Any:
        return ("storage", torch.FloatStorage, "0", "cpu", self.elements) if obj == "the storage" else None


class Rebuild:
    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return torch._utils._rebuild_tensor_v2, self.arguments


def forged(elements: int, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    Forger(file, elements).dump({"w": Rebuild("the storage", offset, shape, strides, False, OrderedDict())})
    return file.getvalue()


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [(0, (5,), (1,)), (1, (4,), (1,)), (-1, (2,), (1,)), (0, (2, 2), (3, 1)), (3, (2,), (-1,)), (0, (10**9,), (0,))],
)
def test_a_tensor_that_reaches_outside_its_storage_is_refused(
    tmp_path: Path, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    path = archive_with(tmp_path / "w.bin", forged(4, offset, shape, strides), bytes(16))
    with pytest.raises(WeightsError, match="outside its storage"):
        read_torch_pickle(path)


def test_a_forged_tensor_of_right_size_is_read(tmp_path: Path) -> None:
    path = archive_with(tmp_path / "w.bin", forged(4, 0, (2, 2), (2, 1)), np.arange(4, dtype="<f4").tobytes())
    assert read_torch_pickle(path)["w"].tolist() == [[0, 1], [2, 3]]


def test_a_storage_that_is_cut_short_is_an_error(tmp_path: Path) -> None:
    path = archive_with(tmp_path / "w.bin", forged(4, 0, (4,), (1,)), bytes(12))
    with pytest.raises(WeightsError, match="cut short"):
        read_torch_pickle(path)


def test_compressed_storages_are_an_error(tmp_path: Path) -> None:
    path = archive_with(tmp_path / "w.bin", forged(4, 0, (4,), (1,)), bytes(16), compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(WeightsError, match="compressed"):
        read_torch_pickle(path)


@pytest.mark.parametrize("archive", FORMS)
@pytest.mark.parametrize("keep", [0, 3, 50, 200, -10])
def test_a_truncated_file_is_an_error_that_names_it(tmp_path: Path, archive: bool, keep: int) -> None:
    path = save({"w": torch.randn(30, 30)}, tmp_path / "w.bin", archive=archive)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(WeightsError, match=r"w\.bin cannot be read as torch weights"):
        read_torch_pickle(path)


@pytest.mark.parametrize("seed", range(40))
def test_flipped_bytes_never_raise_anything_else(tmp_path: Path, seed: int) -> None:
    path = save({"w": torch.randn(4, 4), "b": torch.ones(4)}, tmp_path / "w.bin", archive=seed % 2 == 0)
    raw = bytearray(path.read_bytes())
    rng = np.random.default_rng(seed)
    for place in rng.integers(0, len(raw), 8):
        raw[place] = rng.integers(0, 256)
    path.write_bytes(raw)
    with contextlib.suppress(WeightsError):
        arrays = read_torch_pickle(path)
        assert all(isinstance(array, np.ndarray) for array in arrays.values())


def test_a_pickle_that_is_not_a_state_dict_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="does not hold a dictionary"):
        read_torch_pickle(save([torch.ones(2)], tmp_path / "w.bin"))
