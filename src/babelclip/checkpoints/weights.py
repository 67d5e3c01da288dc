"""Weights files -> numpy arrays: safetensors, and torch's .bin without torch and without running anything in it.

A compact form stands beside float32 and float16: NAME is int8 (rows, ...), NAME.scale float32 (rows,), and the value is
``int8 * scale[row]``. It is undone here, so readers see float32 only.
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

from babelclip.checkpoints.torch_pickle import read_torch_pickle
from babelclip.errors import WeightsError
from babelclip.vectors import FloatArray

Storage = Literal["float32", "float16", "int8"]

WEIGHTS = "model.safetensors"
"""What a folder's weights are written to."""
SCALE_SUFFIX = ".scale"
INT8_LIMIT = 127
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
        """Check that the compact form is whole.

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
        return self._stored[name].shape

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


def write_weights(path: Path, arrays: Mapping[str, FloatArray], storage: Storage = "float32") -> None:
    """Write one safetensors file, whole or not at all.

    :param path: the file; an old one is replaced
    :param arrays: float32 arrays by tensor name
    :param storage: "float32", "float16", or "int8", the compact form
    """
    stored: dict[str, NDArray[np.generic]] = {}
    for name, array in arrays.items():
        if storage == "int8" and array.ndim >= 2 and array.size >= COMPACT_MIN_ELEMENTS:
            stored[name], stored[name + SCALE_SUFFIX] = compact_rows(array)
        else:
            stored[name] = np.ascontiguousarray(array, dtype=np.float16 if storage == "float16" else np.float32)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as file:
        file.write(save(stored, metadata={"format": "pt"}))
    temporary = Path(file.name)
    temporary.chmod(0o644)
    temporary.replace(path)
