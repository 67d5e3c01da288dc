"""Nearest vectors, by FAISS; derived from the catalog and never stored."""

import faiss
import numpy as np
from numpy.typing import NDArray

from babelclip.vectors import FloatArray


class ExactNeighbours:
    """Compares a query with every vector."""

    def __init__(self, vectors: FloatArray) -> None:
        """Take the vectors in.

        :param vectors: float32 (n, d), unit rows
        """
        self._index = faiss.IndexFlatIP(vectors.shape[1])
        self._index.add(np.ascontiguousarray(vectors))

    def search(self, queries: FloatArray, k: int) -> tuple[NDArray[np.int64], FloatArray]:
        """The k nearest of every query, nearest first.

        :param queries: float32 (m, d), unit rows
        :param k: how many; fewer come back when there are fewer
        :return: int64 (m, k) positions and float32 (m, k) cosines
        """
        k = min(k, self._index.ntotal)
        if k == 0:
            return np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0), np.float32)
        scores, positions = self._index.search(np.ascontiguousarray(queries), k)
        return positions, scores
