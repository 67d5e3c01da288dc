"""Cache of text vectors on disk.

A cache is a folder. ``keys`` holds 16 bytes for each text (BLAKE2b of its UTF-8), ``vectors`` float32 rows in the same
order; both are append-only, and one process writes at a time. Vectors are written before their keys, so an incomplete
write is truncated when the cache is opened.
"""

import os
from collections.abc import Callable, Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from babelclip.errors import DataError
from babelclip.pipeline import chunks
from babelclip.vectors import FloatArray

KEY_BYTES = 16
CHUNK = 8192
Encoder = Callable[[Sequence[str]], FloatArray]


class VectorCache:
    """Memory-mapped vectors, looked up by text."""

    def __init__(self, folder: Path, dimension: int) -> None:
        """Open a cache, or create an empty one.

        :param folder: the folder of the cache
        :param dimension: dimension of the vectors
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
        """Truncate rows that were not written completely."""
        for file in (self._keys_file, self._vectors_file):
            file.touch()
        width = 4 * self._dimension
        rows = min(self._keys_file.stat().st_size // KEY_BYTES, self._vectors_file.stat().st_size // width)
        os.truncate(self._keys_file, rows * KEY_BYTES)
        os.truncate(self._vectors_file, rows * width)

    def _read(self) -> None:
        """Read the keys that were added since the last read."""
        stored = self._keys_file.read_bytes()
        for row in range(len(self._rows), len(stored) // KEY_BYTES):
            self._rows[stored[row * KEY_BYTES : (row + 1) * KEY_BYTES]] = row

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Look up the rows of texts in ``vectors``.

        :param texts: texts that were added
        :return: int64 (n,)
        :raises DataError: if a text was not added
        """
        try:
            return np.array([self._rows[_key(text)] for text in texts], dtype=np.int64)
        except KeyError:
            missing = next(text for text in texts if _key(text) not in self._rows)
            raise DataError(f"no vector is stored for {missing[:80]!r}") from None

    @property
    def vectors(self) -> FloatArray:
        """All vectors: float32 (texts, dimension), memory-mapped and read-only."""
        if not self._rows:
            return np.empty((0, self._dimension), dtype=np.float32)
        return np.memmap(self._vectors_file, dtype=np.float32, mode="r", shape=(len(self._rows), self._dimension))

    def take(self, texts: Sequence[str]) -> FloatArray:
        """Read the vectors of texts that were added.

        :param texts: the texts
        :return: float32 (n, dimension)
        """
        vectors: FloatArray = self.vectors[self.rows(texts)]
        return vectors

    def add(self, texts: Sequence[str], encode: Encoder, progress: Callable[[int, int], None] | None = None) -> int:
        """Compute and store the vectors that are missing.

        :param texts: the texts
        :param encode: texts -> float32 (n, dimension)
        :param progress: receives the number of computed vectors and their total
        :return: the number of computed vectors
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


def _key(text: str) -> bytes:
    """Compute the key of a text."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=KEY_BYTES).digest()
