"""Nearest vectors by id: exact, for up to some tens of thousands."""

from typing import Any, Protocol

import faiss as typed_faiss
import numpy as np
from numpy.typing import NDArray

from babelclip.vectors import FloatArray

# Its stubs tell of C++, not of the Python layer above it.
faiss: Any = typed_faiss

Ids = NDArray[np.int64]


class Neighbours(Protocol):
    """What finds the vectors that are nearest to queries."""

    def search(self, queries: FloatArray, k: int, *, allowed: Ids | None = None) -> tuple[Ids, FloatArray]:
        """Ids and cosines, nearest first.

        :param queries: float32 (m, d), unit rows
        :param k: how many
        :param allowed: int64, growing ids that may be found; None for all
        :return: int64 (m, k) ids, -1 where there is none, and float32 (m, k) cosines
        """
        ...


class ExactNeighbours:
    """Compares a query with every vector."""

    def __init__(self, ids: Ids, vectors: FloatArray) -> None:
        """Take the vectors in.

        :param ids: int64 (n,), growing
        :param vectors: float32 (n, d), unit rows
        """
        self._ids = ids
        self._index = faiss.IndexFlatIP(vectors.shape[1])
        self._index.add(np.ascontiguousarray(vectors))

    def search(self, queries: FloatArray, k: int, *, allowed: Ids | None = None) -> tuple[Ids, FloatArray]:
        """Ids and cosines, nearest first; fewer than k columns where there are fewer vectors.

        :param queries: float32 (m, d), unit rows
        :param k: how many
        :param allowed: int64, growing ids that may be found; None for all
        :return: int64 (m, k) ids, -1 where there is none, and float32 (m, k) cosines
        """
        k = min(k, self._index.ntotal)
        if k == 0:
            return np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0), np.float32)
        parameters = faiss.SearchParameters(sel=selector(is_among(self._ids, allowed))) if allowed is not None else None
        scores, rows = self._index.search(np.ascontiguousarray(queries), k, params=parameters)
        return np.where(rows >= 0, self._ids[rows], -1), scores


def is_among(ids: Ids, allowed: Ids) -> NDArray[np.bool_]:
    """Which ids are among others.

    :param ids: int64 (n,)
    :param allowed: int64 (m,), growing
    :return: bool (n,)
    """
    if not len(allowed):
        return np.zeros(len(ids), dtype=np.bool_)
    places = np.minimum(np.searchsorted(allowed, ids), len(allowed) - 1)
    found: NDArray[np.bool_] = allowed[places] == ids
    return found


def selector(rows: NDArray[np.bool_]) -> Any:
    """The rows that FAISS may find.

    :param rows: bool (n,)
    :return: a bitmap
    """
    return faiss.IDSelectorBitmap(np.packbits(rows, bitorder="little"))


def merged(parts: list[tuple[Ids, FloatArray]], k: int) -> tuple[Ids, FloatArray]:
    """The best of several answers to the same queries.

    :param parts: ids (m, any) and cosines, as ``Neighbours.search`` gives them
    :param k: how many
    :return: int64 (m, k) ids, -1 where there is none, and float32 (m, k) cosines; at equal cosines lower ids first
    """
    ids = np.concatenate([part[0] for part in parts], axis=1)
    scores = np.where(ids >= 0, np.concatenate([part[1] for part in parts], axis=1), -np.inf).astype(np.float32)
    order = np.lexsort((ids, -scores), axis=1)[:, :k]
    return np.take_along_axis(ids, order, axis=1), np.take_along_axis(scores, order, axis=1)
