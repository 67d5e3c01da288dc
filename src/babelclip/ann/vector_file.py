"""The float16 vectors of a file, read by rows.

A mapped file becomes resident by the pages around every row that is read, in the end as a whole. A few rows are
therefore read with a call each, which costs about as much; many are read from the mapping.
"""

import os
import weakref
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from babelclip.ann.exact import Ids

FEW = 2000
"""Rows that are read one by one."""


class VectorFile:
    """A ``.npy`` file of float16 (n, d)."""

    def __init__(self, path: Path) -> None:
        """Open it.

        :param path: the file
        :raises OSError: if it is not there
        :raises ValueError: if it is not such a file, or shorter than it says
        """
        self.mapped: np.memmap[tuple[int, int], np.dtype[np.float16]] = np.load(path, mmap_mode="r")
        self._path = path
        self._file = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)

    def __len__(self) -> int:
        return len(self.mapped)

    def __getitem__(self, rows: Ids) -> NDArray[np.float16]:
        """Some vectors.

        :param rows: int64 (n,)
        :return: float16 (n, d)
        """
        if len(rows) > FEW or not hasattr(os, "preadv"):
            return np.asarray(self.mapped[rows])
        found = np.empty((len(rows), self.mapped.shape[1]), np.float16)
        for row, into in zip(rows.tolist(), found, strict=True):
            if os.preadv(self._file, [into.data], self.mapped.offset + row * into.nbytes) != into.nbytes:
                raise IndexError(f"{self._path} has no row {row}")
        return found
