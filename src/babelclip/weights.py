"""Weights files -> numpy arrays: safetensors, and torch's .bin without torch and without running anything in it.

Two compact forms stand beside float32 and float16. Both are undone here, so readers see float32 only.
  int8   NAME is int8 (rows, ...), NAME.scale float32 (rows,): the value is ``int8 * scale[row]``.
  int4   NAME is uint8 (rows, columns / 2), NAME.scale float16 (rows, columns / 32): every 32 numbers of a row share a
         scale; a byte holds two of them, low half first, each less 8: the value is ``(half - 8) * scale``. Only
         matrices that are of this kind already are written so, hence nothing is lost.
"""

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from babelclip.errors import WeightsError
from babelclip.pickles import read_torch_pickle
from babelclip.vectors import FloatArray

Storage = Literal["float32", "float16", "int8", "int4"]

WEIGHTS = "model.safetensors"
"""What a folder's weights are written to."""
SCALE_SUFFIX = ".scale"
INT8_LIMIT = 127
INT4_BLOCK = 32
INT4_ZERO = 8
COMPACT_MIN_ELEMENTS = 4096
"""Smaller tensors (biases, norms) stay float32 in the compact form: they cost nothing and matter most."""
ROWS_AT_ONCE = 4096
"""How many rows are rounded at a time, so that a large table is not copied as a whole."""
_SAFETENSORS_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I8": "int8",
    "U8": "uint8",
}


@dataclass(frozen=True, slots=True)
class _Stored:
    """A tensor as it is in its file, read when it is wanted. ``dtype`` is numpy's name for it."""

    dtype: str
    shape: tuple[int, ...]
    read: Callable[[], NDArray[Any]]


class Weights(Mapping[str, FloatArray]):
    """The tensors of a model folder by name, float32 whatever they are stored as; a missing name is a WeightsError.

    The files are mapped, and a tensor is read and turned into float32 whenever it is asked for, so that a tower is
    never in memory as a whole.
    """

    def __init__(self, stored: Mapping[str, NDArray[Any] | _Stored], source: Path) -> None:
        """Check that the compact forms are whole.

        :param stored: the tensors and the scales of the compact ones, as arrays or still in their file
        :param source: the file they came from, for messages
        :raises WeightsError: if a scale is missing or does not fit
        """
        self._stored = {name: _held(own) if isinstance(own, np.ndarray) else own for name, own in stored.items()}
        self._source = source
        self._names = {name: None for name in self._stored if self._is_float(name)}

    def _is_float(self, name: str) -> bool:
        """Whether a reader sees a tensor: scales belong to others, and whole numbers (position ids) are left out."""
        own, scale = self._stored[name], self._stored.get(name + SCALE_SUFFIX)
        if own.dtype == "int8":
            if scale is None or scale.shape != own.shape[:1]:
                raise WeightsError(f"{self._source}: int8 tensor {name!r} has no scale of {own.shape[:1]}")
            return True
        if own.dtype == "uint8" and scale is not None:
            if len(own.shape) != 2 or scale.shape != (own.shape[0], 2 * own.shape[1] // INT4_BLOCK):
                raise WeightsError(f"{self._source}: int4 tensor {name!r} does not fit its scale of {scale.shape}")
            return True
        if name.endswith(SCALE_SUFFIX) and name.removesuffix(SCALE_SUFFIX) in self._stored:
            return False
        return "float" in own.dtype

    def __getitem__(self, name: str) -> FloatArray:
        if name not in self._names:
            raise WeightsError(f"{self._source} has no tensor {name!r}")
        own = self._stored[name]
        array = own.read()
        if own.dtype == "int8":
            scales = self._stored[name + SCALE_SUFFIX].read().astype(np.float32)
            whole: FloatArray = array.astype(np.float32)
            whole *= scales.reshape(-1, *[1] * (array.ndim - 1))
            return whole
        if own.dtype == "uint8":
            return unpack_int4(array, self._stored[name + SCALE_SUFFIX].read().astype(np.float32))
        return np.ascontiguousarray(array, dtype=np.float32)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor, without reading it.

        :param name: its name
        :return: the shape that it has as float32
        :raises WeightsError: if there is none of that name
        """
        if name not in self._names:
            raise WeightsError(f"{self._source} has no tensor {name!r}")
        own = self._stored[name]
        return (own.shape[0], 2 * own.shape[1]) if own.dtype == "uint8" else own.shape

    def compact(self, name: str) -> tuple[NDArray[np.int8], FloatArray] | None:
        """A tensor in the int8 form that it is stored in: the same numbers in a quarter of the bytes.

        :param name: its name
        :return: int8 (rows, ...) and float32 (rows,) scales, as of compact_rows; None where it is stored otherwise
        """
        own = self._stored.get(name)
        if own is None or own.dtype != "int8":
            return None
        return own.read(), self._stored[name + SCALE_SUFFIX].read().astype(np.float32)

    def renamed(self, rename: Callable[[str], str]) -> "Weights":
        """The same tensors under other names.

        :param rename: from a name to the new one; a scale must stay beside its tensor
        :return: the tensors, not read
        """
        return Weights({rename(name): own for name, own in self._stored.items()}, self._source)


def read_weights(folder: Path) -> Weights:
    """All tensors of a folder: model.safetensors, its sharded form, or pytorch_model.bin.

    :param folder: a model's or a module's folder
    :return: float32 arrays by tensor name, in their own shapes
    :raises WeightsError: if there is no weights file, or it is damaged
    """
    single = folder / WEIGHTS
    shards = folder / "model.safetensors.index.json"
    pickled = folder / "pytorch_model.bin"
    if single.is_file():
        return Weights(_open_safetensors(single), single)
    if shards.is_file():
        names = sorted(set(json.loads(shards.read_text(encoding="utf-8"))["weight_map"].values()))
        if any(Path(name).name != name for name in names):
            raise WeightsError(f"{shards} names a file outside its folder")
        stored = {key: own for name in names for key, own in _open_safetensors(folder / name).items()}
        return Weights(stored, shards)
    if pickled.is_file():
        return Weights(read_torch_pickle(pickled), pickled)
    raise WeightsError(f"{folder} has no weights: neither model.safetensors nor pytorch_model.bin is there")


def _held(array: NDArray[Any]) -> _Stored:
    """An array that is there already."""
    return _Stored(array.dtype.name, array.shape, lambda: array)


def _open_safetensors(path: Path) -> dict[str, _Stored]:
    """Every tensor of one safetensors file, unread."""
    try:
        file: Any = safe_open(path, framework="numpy")
        found = {}
        for name in file.keys():  # noqa: SIM118 (not a mapping)
            part = file.get_slice(name)
            dtype = _SAFETENSORS_DTYPES.get(part.get_dtype(), part.get_dtype())
            found[name] = _Stored(dtype, tuple(part.get_shape()), partial(_read_tensor, file, name, path))
        return found
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise WeightsError(f"{path} cannot be read as safetensors: {error}") from None


def _read_tensor(file: Any, name: str, path: Path) -> NDArray[Any]:
    """One tensor of an open safetensors file."""
    try:
        array: NDArray[Any] = file.get_tensor(name)
        return array
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise WeightsError(f"{path} cannot be read as safetensors: {error}") from None


def compact_rows(array: FloatArray) -> tuple[NDArray[np.int8], FloatArray]:
    """Symmetric int8 with one scale a row: the largest value of a row becomes 127.

    :param array: float32 (rows, ...)
    :return: int8 (rows, ...) and float32 (rows,) scales
    """
    flat = array.reshape(array.shape[0], -1)
    rows, scales = np.empty(flat.shape, dtype=np.int8), np.empty(len(flat), dtype=np.float32)
    for start in range(0, len(flat), ROWS_AT_ONCE):
        part = flat[start : start + ROWS_AT_ONCE]
        scale = np.maximum(np.abs(part).max(axis=1), np.finfo(np.float32).tiny) / INT8_LIMIT
        rows[start : start + len(part)] = np.rint(part / scale[:, None])
        scales[start : start + len(part)] = scale
    return rows.reshape(array.shape), scales


def pack_int4(array: FloatArray) -> tuple[NDArray[np.uint8], NDArray[np.float16]] | None:
    """The int4 form of a matrix that was in 4-bit blocks before it became float, and so loses nothing by it.

    :param array: float32 (rows, columns)
    :return: uint8 (rows, columns / 2) and float16 (rows, columns / 32) scales; None where it is not of that kind
    """
    rows, columns = array.shape
    if columns % INT4_BLOCK:
        return None
    blocks = array.reshape(-1, INT4_BLOCK)
    largest = np.abs(blocks).max(axis=1)
    scales = np.zeros(len(blocks), dtype=np.float32)
    found = largest == 0
    for step in range(INT4_ZERO, 0, -1):
        # The largest number of a block is some whole number of steps, from 8 down to 1.
        scale = (largest / step).astype(np.float16).astype(np.float32)
        steps = np.divide(blocks, scale[:, None], out=np.zeros_like(blocks), where=scale[:, None] > 0)
        whole = np.rint(steps)
        low, high = whole.min(axis=1), whole.max(axis=1)
        exact = (whole * scale[:, None] == blocks).all(axis=1) & ((high < INT4_ZERO) | (low > -INT4_ZERO))
        # The halves reach from -8 to 7: where +8 occurs, the scale is negative.
        scales = np.where(exact & ~found, np.where(high < INT4_ZERO, scale, -scale), scales)
        found |= exact
        if found.all():
            break
    else:
        return None
    steps = np.divide(blocks, scales[:, None], out=np.zeros_like(blocks), where=scales[:, None] != 0)
    halves = (np.rint(steps) + INT4_ZERO).astype(np.uint8).reshape(rows, columns)
    packed: NDArray[np.uint8] = halves[:, ::2] | np.left_shift(halves[:, 1::2], 4)
    return packed, scales.astype(np.float16).reshape(rows, columns // INT4_BLOCK)


def unpack_int4(packed: NDArray[np.uint8], scales: FloatArray) -> FloatArray:
    """Undo ``pack_int4``.

    :param packed: uint8 (rows, columns / 2)
    :param scales: float32 (rows, columns / 32)
    :return: float32 (rows, columns)
    """
    rows, half = packed.shape
    values = np.empty((rows, half, 2), dtype=np.float32)
    values[:, :, 0] = packed & 15
    values[:, :, 1] = packed >> 4
    values -= INT4_ZERO
    blocks = values.reshape(rows, -1, INT4_BLOCK)
    blocks *= scales[:, :, None]
    return blocks.reshape(rows, 2 * half)


def write_weights(path: Path, arrays: Mapping[str, FloatArray], storage: Storage = "float32") -> None:
    """Write one safetensors file, whole or not at all.

    :param path: the file; an old one is replaced
    :param arrays: float32 arrays by tensor name
    :param storage: "float32", "float16", or one of the compact forms above; in "int4" what is not of that kind is
        float16
    """
    stored: dict[str, NDArray[np.generic]] = {}
    for name, array in arrays.items():
        large = array.ndim >= 2 and array.size >= COMPACT_MIN_ELEMENTS
        packed = pack_int4(array) if storage == "int4" and large and array.ndim == 2 else None
        if packed is not None:
            stored[name], stored[name + SCALE_SUFFIX] = packed
        elif storage == "int8" and large:
            stored[name], stored[name + SCALE_SUFFIX] = compact_rows(array)
        else:
            half = storage == "float16" or (storage == "int4" and large)
            stored[name] = np.ascontiguousarray(array, dtype=np.float16 if half else np.float32)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as file:
        file.write(save(stored, metadata={"format": "pt"}))
    temporary = Path(file.name)
    temporary.chmod(0o644)
    temporary.replace(path)
