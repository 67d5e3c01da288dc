"""Torch's pickled weights, read by an unpickler that knows tensors and nothing else.

A pickle is a program: it may name any function and have it called. Here the only names that resolve are those that a
state dict of tensors needs, and they resolve to functions of this file. Any other name ends the reading.
Both forms of torch's files are known: the zip archive (torch 1.6 and later) and the older stream.
"""

import io
import math
import pickle
import struct
import zipfile
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from babelclip.errors import UnsafeWeightsError, WeightsError

STREAM_MAGIC = 0x1950A86A20F9469CFC6C
STREAM_PROTOCOL = 1001

_STORAGE_DTYPES: dict[str, str] = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}


@dataclass(frozen=True, slots=True)
class _Storage:
    """A run of numbers that tensors are views of. ``key`` names it in the file; ``size`` counts its elements."""

    key: str
    dtype: str
    size: int

    @property
    def bytes(self) -> int:
        """Its length in the file."""
        return self.size * (2 if self.dtype == "bfloat16" else np.dtype(self.dtype).itemsize)


@dataclass(frozen=True, slots=True)
class _Tensor:
    """A strided view of a storage; offset and strides count elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _StorageType:
    """Stands for a torch storage class while the pickle is read."""

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype


def _rebuild_tensor(storage: _Storage, offset: int, shape: Any, strides: Any, *_ignored: object) -> _Tensor:
    """Stands for torch._utils._rebuild_tensor_v2."""
    view = _Tensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))
    last = view.offset + sum((n - 1) * s for n, s in zip(view.shape, view.strides, strict=True))
    negative = view.offset < 0 or min((*view.shape, *view.strides), default=0) < 0
    # Strides of zero could show one number a billion times, so the elements are bounded as well as the reach.
    if negative or math.prod(view.shape) > storage.size or (0 not in view.shape and last >= storage.size):
        raise WeightsError("a tensor reaches outside its storage")
    return view


def _rebuild_parameter(data: _Tensor, *_ignored: object) -> _Tensor:
    """Stands for torch._utils._rebuild_parameter."""
    return data


_KNOWN: dict[tuple[str, str], Any] = {
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("collections", "OrderedDict"): OrderedDict,
    **{("torch", name): _StorageType(dtype) for name, dtype in _STORAGE_DTYPES.items()},
}


class _TensorUnpickler(pickle.Unpickler):
    """An unpickler for which the names above are all the names there are."""

    def find_class(self, module: str, name: str) -> Any:
        """Resolve a name, or end the reading."""
        if (module, name) not in _KNOWN:
            raise UnsafeWeightsError(f"it asks for {module}.{name}, which is not a tensor; nothing of it was run")
        return _KNOWN[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        """A reference to a storage: ("storage", type, key, device, elements) and, in old files, a view."""
        if not (isinstance(pid, tuple) and len(pid) >= 5 and pid[0] == "storage" and isinstance(pid[1], _StorageType)):
            raise UnsafeWeightsError("it refers to something that is not a storage")
        if len(pid) > 5 and pid[5] is not None:
            raise WeightsError("storages that are views of others are not supported")
        return _Storage(str(pid[2]), pid[1].dtype, int(pid[4]))


def _fail(path: Path, reason: object) -> NoReturn:
    raise WeightsError(f"{path} cannot be read as torch weights: {reason}") from None


def read_torch_pickle(path: Path) -> dict[str, NDArray[np.generic]]:
    """The tensors of a .bin or .pth file that holds a state dict.

    :param path: the file
    :return: arrays by tensor name, in their stored types (bfloat16 as float32)
    :raises UnsafeWeightsError: if the pickle names anything but tensors
    :raises WeightsError: if it is damaged, cut short or not a state dict
    """
    try:
        if zipfile.is_zipfile(path):
            return _read_archive(path)
        with path.open("rb") as file:
            if file.read(2) == b"PK":
                raise WeightsError("the archive is cut short")
        return _read_stream(path)
    except UnsafeWeightsError as error:
        raise UnsafeWeightsError(f"{path} is refused: {error}") from None
    except WeightsError as error:
        _fail(path, error)
    except (pickle.UnpicklingError, zipfile.BadZipFile, EOFError, OSError, struct.error) as error:
        _fail(path, error)
    except (ValueError, TypeError, LookupError, AttributeError, MemoryError, RuntimeError) as error:
        # A damaged or hostile pickle can make the unpickler stumble in any of these ways.
        _fail(path, f"{type(error).__name__}: {error}")


def _state_dict(loaded: object) -> dict[str, _Tensor]:
    """The names and views of a state dict; anything in it that is not a tensor is left out."""
    if not isinstance(loaded, dict):
        raise WeightsError("it does not hold a dictionary of tensors")
    return {name: value for name, value in loaded.items() if isinstance(name, str) and isinstance(value, _Tensor)}


def _read_archive(path: Path) -> dict[str, NDArray[np.generic]]:
    """The zip form: NAME/data.pkl, and NAME/data/KEY for every storage, stored without compression."""
    with zipfile.ZipFile(path) as archive:
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise WeightsError("the archive has no data.pkl")
        root = pickles[0].removesuffix("data.pkl")
        views = _state_dict(_TensorUnpickler(io.BytesIO(archive.read(pickles[0]))).load())
        mapped = np.memmap(path, dtype=np.uint8, mode="r")
        storages: dict[str, NDArray[np.generic]] = {}
        for view in views.values():
            if view.storage.key not in storages:
                info = archive.getinfo(f"{root}data/{view.storage.key}")
                if info.compress_type != zipfile.ZIP_STORED:
                    raise WeightsError("its storages are compressed")
                # A local header is 30 bytes, then the file name and an extra field, whose lengths it gives.
                name, extra = struct.unpack("<HH", mapped[info.header_offset + 26 : info.header_offset + 30].tobytes())
                start = info.header_offset + 30 + name + extra
                storages[view.storage.key] = _numbers(mapped[start : start + info.file_size], view.storage)
        return {name: _array(view, storages[view.storage.key]) for name, view in views.items()}


def _read_stream(path: Path) -> dict[str, NDArray[np.generic]]:
    """The old form: magic, protocol, system, the pickle, the storages' keys, then each storage after its length."""
    with path.open("rb") as file:
        for expected in (STREAM_MAGIC, STREAM_PROTOCOL):
            if _TensorUnpickler(file).load() != expected:
                raise WeightsError("it is neither a zip archive nor torch's older form")
        _TensorUnpickler(file).load()
        views = _state_dict(_TensorUnpickler(file).load())
        by_key = {view.storage.key: view.storage for view in views.values()}
        storages: dict[str, NDArray[np.generic]] = {}
        for key in _TensorUnpickler(file).load():
            if key not in by_key:
                raise WeightsError(f"storage {key!r} belongs to no tensor")
            storages[key] = _numbers(np.frombuffer(_stream_storage(file, by_key[key]), dtype=np.uint8), by_key[key])
        return {name: _array(view, storages[view.storage.key]) for name, view in views.items()}


def _stream_storage(file: IO[bytes], storage: _Storage) -> bytes:
    """The bytes of the next storage of the stream."""
    (size,) = struct.unpack("<q", file.read(8))
    if size != storage.size:
        raise WeightsError(f"storage {storage.key!r} has {size} elements, not {storage.size}")
    return file.read(storage.bytes)


def _numbers(raw: NDArray[np.uint8], storage: _Storage) -> NDArray[np.generic]:
    """The elements of a storage from its bytes."""
    if raw.nbytes != storage.bytes:
        raise WeightsError(
            f"storage {storage.key!r} has {raw.nbytes} bytes, not {storage.bytes}: the file is cut short"
        )
    if storage.dtype == "bfloat16":
        return (raw.view("<u2").astype(np.uint32) << 16).view(np.float32)
    if raw.ctypes.data % np.dtype(storage.dtype).itemsize:
        raw = raw.copy()
    return raw.view(storage.dtype)


def _array(view: _Tensor, storage: NDArray[np.generic]) -> NDArray[np.generic]:
    """The array that a view shows; its reach was checked when the view was built."""
    strides = tuple(step * storage.itemsize for step in view.strides)
    return np.lib.stride_tricks.as_strided(storage[view.offset :], view.shape, strides, writeable=False)
