"""Exact nearest neighbours by id, for up to some tens of thousands of vectors."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import faiss as typed_faiss
import numpy as np
from numpy.typing import NDArray

from babelclip.vectors import FloatArray

# The stubs describe the C++ classes, not the Python layer above them.
faiss: Any = typed_faiss

Ids = NDArray[np.int64]
MANY = 20
"""Queries from which a matrix product is faster than one query after the other."""
FEW_IDS = 1000
"""Ids that are looked up by bisection; for more of them a table is faster."""
COSINES_PER_PRODUCT = 2**24
"""Cosines that are computed in one product: 64 MiB."""


class ExactNeighbours:
    """Compares a query with every vector."""

    def __init__(self, ids: Ids, vectors: FloatArray) -> None:
        """Take the vectors, which are not copied.

        :param ids: int64 (n,), ascending
        :param vectors: float32 (n, d), unit rows
        """
        self._ids = ids
        self._vectors = np.ascontiguousarray(vectors)

    def search(self, queries: FloatArray, k: int, *, allowed: Ids | None = None) -> tuple[Ids, FloatArray]:
        """Find the nearest ids; there are fewer than k columns where there are fewer vectors.

        :param queries: float32 (m, d), unit rows
        :param k: how many
        :param allowed: int64, ascending ids that may be returned; None for all
        :return: int64 (m, k) ids, nearest first, -1 where there are no more, and float32 (m, k) cosines
        """
        k = min(k, len(self._ids))
        if k == 0:
            return np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0), np.float32)
        if allowed is None and len(queries) >= MANY:
            rows, scores = self._of_many(queries, k)
        else:
            rows, scores = self._of_few(queries, k, None if allowed is None else is_among(self._ids, allowed))
        return np.where(rows >= 0, self._ids[rows], -1), scores

    def _of_few(self, queries: FloatArray, k: int, among: NDArray[np.bool_] | None) -> tuple[Ids, FloatArray]:
        """Search in this thread alone: a second one saves nothing, and waits for a CPU that others use."""
        queries = np.ascontiguousarray(queries)
        rows, scores = np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)
        sizes = queries.shape[1], len(queries), len(self._vectors), k
        with one_thread():
            faiss.knn_inner_product(
                faiss.swig_ptr(queries),
                faiss.swig_ptr(self._vectors),
                *sizes,
                faiss.swig_ptr(scores),
                faiss.swig_ptr(rows),
                None if among is None else selector(among),
            )
        return rows, scores

    def _of_many(self, queries: FloatArray, k: int) -> tuple[Ids, FloatArray]:
        """Search by numpy's products, because those of FAISS' wheel do not use AVX."""
        rows, scores = np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)
        step = max(1, COSINES_PER_PRODUCT // len(self._ids))
        for start in range(0, len(queries), step):
            part = slice(start, start + step)
            cosines = queries[part] @ self._vectors.T
            last = len(self._ids) - k
            best = cosines.argmax(axis=1)[:, None] if k == 1 else np.argpartition(cosines, last, axis=1)[:, last:]
            order = np.argsort(-np.take_along_axis(cosines, best, axis=1), axis=1, kind="stable")
            rows[part] = np.take_along_axis(best, order, axis=1)
            scores[part] = np.take_along_axis(cosines, rows[part], axis=1)
        return rows, scores


@contextmanager
def one_thread() -> Iterator[None]:
    """Let FAISS work in the calling thread alone, because a query does not gain from others.

    :yield: nothing
    """
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)


def is_among(ids: Ids, allowed: Ids) -> NDArray[np.bool_]:
    """Tell which ids are among others.

    :param ids: int64 (n,)
    :param allowed: int64 (m,), ascending
    :return: bool (n,)
    """
    if not len(allowed):
        return np.zeros(len(ids), dtype=np.bool_)
    if len(ids) > FEW_IDS:
        return np.isin(ids, allowed)
    positions = np.minimum(np.searchsorted(allowed, ids), len(allowed) - 1)
    among: NDArray[np.bool_] = allowed[positions] == ids
    return among


def selector(rows: NDArray[np.bool_]) -> Any:
    """Make FAISS' selector of the rows that may be returned.

    :param rows: bool (n,)
    :return: a bitmap
    """
    return faiss.IDSelectorBitmap(np.packbits(rows, bitorder="little"))


def merged(parts: list[tuple[Ids, FloatArray]], k: int) -> tuple[Ids, FloatArray]:
    """Merge several results of the same queries.

    :param parts: ids (m, any) and cosines, as a search returns them
    :param k: how many
    :return: int64 (m, k) ids, -1 where there are no more, and float32 (m, k) cosines; at equal cosines lower ids first
    """
    ids = np.concatenate([part[0] for part in parts], axis=1)
    scores = np.where(ids >= 0, np.concatenate([part[1] for part in parts], axis=1), -np.inf).astype(np.float32)
    order = np.lexsort((ids, -scores), axis=1)[:, :k]
    return np.take_along_axis(ids, order, axis=1), np.take_along_axis(scores, order, axis=1)
