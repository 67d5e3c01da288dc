"""Weights files -> numpy arrays: safetensors, and torch's .bin without torch and without running anything in it.

The compact form that babelclip writes beside float32 and float16: a tensor NAME of int8 (rows, ...) with a tensor
NAME.scale of float32 (rows,); the value is ``int8 * scale[row]``. It is undone here, so readers see float32 only.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from babelclip.errors import WeightsError
from babelclip.pickles import read_torch_pickle
from babelclip.vectors import FloatArray

Storage = Literal["float32", "float16", "int8"]

SCALE_SUFFIX = ".scale"
INT8_LIMIT = 127
COMPACT_MIN_ELEMENTS = 4096
"""Smaller tensors (biases, norms) stay float32 in the compact form: they cost nothing and matter most."""


class Weights(Mapping[str, FloatArray]):
    """The tensors of a model folder by name, float32 whatever they are stored as; a missing name is a WeightsError."""

    def __init__(self, arrays: dict[str, FloatArray], source: Path) -> None:
        """Keep the arrays and the name of the file they came from, for messages."""
        self._arrays = arrays
        self._source = source

    def __getitem__(self, name: str) -> FloatArray:
        if name not in self._arrays:
            raise WeightsError(f"{self._source} has no tensor {name!r}")
        return self._arrays[name]

    def __contains__(self, name: object) -> bool:
        return name in self._arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)


def read_weights(folder: Path) -> Weights:
    """All tensors of a folder: model.safetensors, its sharded form, or pytorch_model.bin.

    :param folder: a model's or a module's folder
    :return: float32 arrays by tensor name, in their own shapes
    :raises WeightsError: if there is no weights file, or it is damaged
    """
    single = folder / "model.safetensors"
    shards = folder / "model.safetensors.index.json"
    pickled = folder / "pytorch_model.bin"
    if single.is_file():
        return Weights(_as_float32(_read_safetensors(single), single), single)
    if shards.is_file():
        names = sorted(set(json.loads(shards.read_text(encoding="utf-8"))["weight_map"].values()))
        if any(Path(name).name != name for name in names):
            raise WeightsError(f"{shards} names a file outside its folder")
        arrays = {key: value for name in names for key, value in _read_safetensors(folder / name).items()}
        return Weights(_as_float32(arrays, shards), shards)
    if pickled.is_file():
        return Weights(_as_float32(read_torch_pickle(pickled), pickled), pickled)
    raise WeightsError(f"{folder} has no weights: neither model.safetensors nor pytorch_model.bin is there")


def _read_safetensors(path: Path) -> dict[str, NDArray[np.generic]]:
    """Every tensor of one safetensors file, as stored."""
    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise WeightsError(f"{path} cannot be read as safetensors: {error}") from None


def _as_float32(arrays: Mapping[str, NDArray[np.generic]], source: Path) -> dict[str, FloatArray]:
    """Float32 for every float tensor, the compact form undone, whole-number tensors (position ids) left out."""
    result: dict[str, FloatArray] = {}
    for name, array in arrays.items():
        if array.dtype == np.int8:
            scale = arrays.get(name + SCALE_SUFFIX)
            if scale is None or scale.shape != array.shape[:1]:
                raise WeightsError(f"{source}: int8 tensor {name!r} has no scale of {array.shape[:1]}")
            rows = np.asarray(scale, dtype=np.float32).reshape(-1, *[1] * (array.ndim - 1))
            result[name] = array.astype(np.float32) * rows
        elif name.endswith(SCALE_SUFFIX) and name.removesuffix(SCALE_SUFFIX) in arrays:
            continue
        elif array.dtype.kind == "f" or array.dtype.name == "bfloat16":
            result[name] = np.ascontiguousarray(array, dtype=np.float32)
    return result


def compact_rows(array: FloatArray) -> tuple[NDArray[np.int8], FloatArray]:
    """Symmetric int8 with one scale a row: the largest value of a row becomes 127.

    :param array: float32 (rows, ...)
    :return: int8 (rows, ...) and float32 (rows,) scales
    """
    flat = array.reshape(array.shape[0], -1)
    scale = np.maximum(np.abs(flat).max(axis=1), np.finfo(np.float32).tiny) / INT8_LIMIT
    return np.rint(flat / scale[:, None]).astype(np.int8).reshape(array.shape), scale.astype(np.float32)


def write_weights(path: Path, arrays: Mapping[str, FloatArray], storage: Storage = "float32") -> None:
    """Write one safetensors file, whole or not at all.

    :param path: the file; an old one is replaced
    :param arrays: float32 arrays by tensor name
    :param storage: "float32", "float16", or "int8" (the compact form above)
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
