"""Vectors of a teacher, computed once and kept on disk.

A store is a folder named by the teacher's fingerprint. ``keys`` holds 16 bytes a text (BLAKE2b of its UTF-8),
``vectors`` float32 rows in the same order; both only grow, and one process writes at a time. Vectors are written before
their keys, so whatever was being written when a process died is cut off.
"""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from babelclip.batching import chunks
from babelclip.errors import DataError, InputError, MissingDependencyError
from babelclip.vectors import FloatArray, unit_rows

KEY_BYTES = 16
CHUNK = 8192
Encode = Callable[[Sequence[str]], FloatArray]


class VectorStore:
    """The vectors of texts, memory-mapped; rows are found by the text."""

    def __init__(self, folder: Path, dimension: int) -> None:
        """Open a store, or make an empty one.

        :param folder: its folder
        :param dimension: numbers a vector
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._keys_file, self._vectors_file = folder / "keys", folder / "vectors"
        self._lock = FileLock(folder / "lock")
        self._dimension = dimension
        self._rows: dict[bytes, int] = {}
        with self._lock:
            self._repair()
        self._read()

    def _repair(self) -> None:
        """Cut off what was not written to its end."""
        for file in (self._keys_file, self._vectors_file):
            file.touch()
        width = 4 * self._dimension
        rows = min(self._keys_file.stat().st_size // KEY_BYTES, self._vectors_file.stat().st_size // width)
        os.truncate(self._keys_file, rows * KEY_BYTES)
        os.truncate(self._vectors_file, rows * width)

    def _read(self) -> None:
        """Take in the keys that are there."""
        stored = self._keys_file.read_bytes()
        for row in range(len(self._rows), len(stored) // KEY_BYTES):
            self._rows[stored[row * KEY_BYTES : (row + 1) * KEY_BYTES]] = row

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Where the vectors of texts are in ``vectors``.

        :param texts: texts that were added
        :return: int64 (n,)
        :raises DataError: if one of them was not added
        """
        try:
            return np.array([self._rows[_key(text)] for text in texts], dtype=np.int64)
        except KeyError:
            missing = next(text for text in texts if _key(text) not in self._rows)
            raise DataError(f"no vector is stored for {missing[:80]!r}") from None

    @property
    def vectors(self) -> FloatArray:
        """float32 (texts, dimension), memory-mapped and read-only."""
        if not self._rows:
            return np.empty((0, self._dimension), dtype=np.float32)
        return np.memmap(self._vectors_file, dtype=np.float32, mode="r", shape=(len(self._rows), self._dimension))

    def take(self, texts: Sequence[str]) -> FloatArray:
        """The vectors of texts that were added.

        :param texts: the texts
        :return: float32 (n, dimension)
        """
        taken: FloatArray = self.vectors[self.rows(texts)]
        return taken

    def add(self, texts: Sequence[str], encode: Encode, progress: Callable[[int, int], None] | None = None) -> int:
        """Compute and store the vectors of those texts that have none.

        :param texts: any texts
        :param encode: texts -> float32 (n, dimension)
        :param progress: is told how many are done, of how many
        :return: how many were computed
        """
        with self._lock:
            self._repair()
            self._read()
            new = [text for text in dict.fromkeys(texts) if _key(text) not in self._rows]
            done = 0
            with self._keys_file.open("ab") as keys, self._vectors_file.open("ab") as vectors:
                for chunk in chunks(new, CHUNK):
                    vectors.write(np.ascontiguousarray(encode(chunk), dtype=np.float32).tobytes())
                    vectors.flush()
                    keys.write(b"".join(_key(text) for text in chunk))
                    keys.flush()
                    done += len(chunk)
                    if progress is not None:
                        progress(done, len(new))
            self._read()
        return len(new)


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Several teachers as one: their unit rows, centred and of unit length again, side by side, each by its weight.

    The cosine of two such rows is the weighted mean of the teachers' cosines. They are then turned into fewer numbers,
    which keeps the directions in which they differ most.
    """

    weights: tuple[float, ...]
    means: tuple[FloatArray, ...]
    rotation: FloatArray

    @classmethod
    def fit(cls, parts: Sequence[FloatArray], weights: Sequence[float], dimension: int) -> "Ensemble":
        """Find the means and the directions (principal components).

        :param parts: a teacher each: float32 (n, d_i), vectors of the same n texts
        :param weights: of the teachers
        :param dimension: how many numbers are kept
        :return: the ensemble; its rotation is float32 (sum of d_i, dimension)
        :raises InputError: if the teachers have fewer numbers than that
        """
        width = sum(part.shape[1] for part in parts)
        if dimension > width:
            raise InputError(f"the teachers have {width} dimensions together; {dimension} cannot be made of them")
        own = tuple(weight / sum(weights) for weight in weights)
        means = tuple(unit_rows(part).mean(axis=0) for part in parts)
        joined = cls(own, means, np.eye(width, dtype=np.float32)).join(parts).astype(np.float64)
        _, directions = np.linalg.eigh(joined.T @ joined)
        return cls(own, means, np.ascontiguousarray(directions[:, : -dimension - 1 : -1], dtype=np.float32))

    def join(self, parts: Sequence[FloatArray]) -> FloatArray:
        """The ensemble's vectors.

        :param parts: a teacher each: float32 (n, d_i)
        :return: float32 (n, dimension), unit rows
        """
        rows = [
            math.sqrt(weight) * unit_rows(unit_rows(part) - mean)
            for weight, mean, part in zip(self.weights, self.means, parts, strict=True)
        ]
        return unit_rows(np.hstack(rows) @ self.rotation)

    @property
    def fingerprint(self) -> str:
        """What tells it from other ensembles: 32 hexadecimal digits."""
        content = b"".join(array.tobytes() for array in (*self.means, self.rotation))
        return blake2b(repr(self.weights).encode() + content, digest_size=KEY_BYTES).hexdigest()


def read_vectors(path: Path) -> tuple[list[str], FloatArray]:
    """Vectors that were computed elsewhere: a Parquet file of ``text`` and ``vector``, as ``babelclip embed`` writes.

    :param path: the file
    :return: texts and float32 (n, d)
    :raises DataError: if it has another form
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError:
        raise MissingDependencyError("pyarrow", extra="train") from None
    try:
        table = pq.read_table(path, columns=["text", "vector"])
        vectors = np.array(table["vector"].to_pylist(), dtype=np.float32)
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise DataError(f"{path} is not a Parquet file of text and vector: {error}") from None
    if vectors.ndim != 2 or not len(vectors):
        raise DataError(f"{path} holds no vectors of one length")
    return table["text"].to_pylist(), vectors


def place(text: str) -> float:
    """A number in 0..1 that a text always has: what decides whether it is held out.

    :param text: any text
    :return: the number
    """
    return int.from_bytes(_key(text)[:8], "big") / 2**64


def _key(text: str) -> bytes:
    """What a text is stored under."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=KEY_BYTES).digest()
