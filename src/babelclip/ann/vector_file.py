"""Float16 vectors in a file, read by row number.

A mapped file becomes resident by the pages around every row that is read, in the end completely. A few rows are
therefore read with one call each, which costs about as much; many rows are read from the mapping.
"""

import os
import weakref
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from babelclip.ann.exact import Ids

MAX_SINGLE_READS = 2000
"""Rows that are read with one call each."""


class VectorFile:
    """A ``.npy`` file of float16 (n, d)."""

    def __init__(self, path: Path) -> None:
        """Open the file.

        :param path: the file
        :raises OSError: if it is not there
        :raises ValueError: if it is not such a file, or shorter than its header says
        """
        self.mapped: np.memmap[tuple[int, int], np.dtype[np.float16]] = np.load(path, mmap_mode="r")
        self._path = path
        self._file = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)

    def __len__(self) -> int:
        return len(self.mapped)

    def __getitem__(self, rows: Ids) -> NDArray[np.float16]:
        """Read some vectors.

        :param rows: int64 (n,)
        :return: float16 (n, d)
        """
        if len(rows) > MAX_SINGLE_READS or not hasattr(os, "preadv"):
            return np.asarray(self.mapped[rows])
        vectors = np.empty((len(rows), self.mapped.shape[1]), np.float16)
        for row, target in zip(rows.tolist(), vectors, strict=True):
            if os.preadv(self._file, [target.data], self.mapped.offset + row * target.nbytes) != target.nbytes:
                raise IndexError(f"{self._path} has no row {row}")
        return vectors
