"""Adapters of libraries for nearest neighbours: one class each, with the same calls on the same float16 vectors.

A row is the number of a vector. usearch and hnswlib are optional: an adapter whose library is missing is left out.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from babelclip.ann.exact import Ids
from babelclip.ann.hnsw import rescored
from babelclip.ann.vector_file import VectorFile
from babelclip.benchmark.search import K
from babelclip.benchmark.synthetic_vectors import fill, made_catalog
from babelclip.stores.sqlite_ann import CatalogNeighbours
from babelclip.vectors import FloatArray, unit_rows

VECTORS = "vectors.npy"
"""float16 (n, d), unit rows, in the folder that adapters share."""
M, EF_CONSTRUCTION = 16, 128
RESCORED = 64
"""Candidates whose cosines are computed again from float16 vectors, where a library stores int8."""
EFFORTS = (32, 64, 128, 256, 512)
"""Values of ef_search, of which the first that reaches the recall of ours is measured."""


class IndexAdapter(ABC):
    """One library; ``ef_search`` has no effect on ours, which chooses its effort by query."""

    name: ClassVar[str]
    filters: ClassVar[str]
    """How a filter is applied."""
    ef_search = EFFORTS[0]

    def __init__(self, folder: Path) -> None:
        """Take the folder of the shared vectors; the adapter writes its own files into it."""
        self.folder = folder

    @abstractmethod
    def build(self, queries: Sequence[FloatArray]) -> None:
        """Build the index of the shared vectors and save it.

        :param queries: float32 (n, d), unit rows, of each kind of text, to tune the search with
        """

    @abstractmethod
    def open(self) -> None:
        """Open the saved index for searches, mapped into memory where the library can."""

    @abstractmethod
    def search(self, query: FloatArray, allowed: Ids | None = None) -> Ids:
        """Find the K nearest rows on one thread.

        :param query: float32 (1, d), a unit row
        :param allowed: int64 rows that a filter allows, ascending; None is all
        :return: int64 (up to K,)
        """

    @abstractmethod
    def add(self, vectors: FloatArray) -> None:
        """Add vectors to the open index, so that the next search can find them.

        :param vectors: float32 (n, d), unit rows
        """

    @abstractmethod
    def close(self) -> None:
        """Release the open index."""


class Babelclip(IndexAdapter):
    """The graph beside a catalog, tuned on queries."""

    name = "babelclip"
    filters = "in the graph search"

    def build(self, queries: Sequence[FloatArray]) -> None:
        """Fill a catalog and build its graph."""
        vectors = np.load(self.folder / VECTORS, mmap_mode="r")
        catalog = made_catalog(self.folder / "p.bc", vectors.shape[1])
        fill(catalog, (unit_rows(vectors[i : i + 20_000]) for i in range(0, len(vectors), 20_000)))
        CatalogNeighbours(catalog.vectors, vectors.shape[1], exact_up_to=0).maintain(lambda: queries)
        catalog.close()

    def open(self) -> None:
        """Open the catalog and its graph."""
        dimension = np.load(self.folder / VECTORS, mmap_mode="r").shape[1]
        self._catalog = made_catalog(self.folder / "p.bc", dimension)
        self._neighbours = CatalogNeighbours(self._catalog.vectors, dimension, exact_up_to=0)
        self._neighbours.refresh()

    def search(self, query: FloatArray, allowed: Ids | None = None) -> Ids:
        """Search the graph; ids of the catalog are rows + 1."""
        among = None if allowed is None else allowed + 1
        found: Ids = self._neighbours.search(query, K, allowed=among)[0][0] - 1
        return found

    def add(self, vectors: FloatArray) -> None:
        """Save them in the catalog, and read them."""
        fill(self._catalog, iter([vectors]), start=len(self._neighbours))
        self._neighbours.refresh()

    def close(self) -> None:
        """Close the catalog."""
        self._catalog.close()


class _Usearch(IndexAdapter):
    """usearch, mapped into memory; its Python binding has no predicates, so filters ask for more and drop."""

    filters = "more candidates, then dropped (no predicates in Python)"
    dtype: ClassVar[str]

    def _index(self) -> Any:
        from usearch.index import Index

        dimension = np.load(self.folder / VECTORS, mmap_mode="r").shape[1]
        return Index(
            ndim=dimension, metric="ip", dtype=self.dtype, connectivity=M, expansion_add=EF_CONSTRUCTION, multi=False
        )

    def build(self, queries: Sequence[FloatArray]) -> None:
        """Add all vectors and save."""
        vectors, index = np.load(self.folder / VECTORS), self._index()
        index.add(np.arange(len(vectors)), vectors.astype(np.float32))
        index.save(str(self.folder / f"usearch.{self.dtype}"))

    def open(self) -> None:
        """Map the saved index."""
        self._opened = self._index()
        self._opened.view(str(self.folder / f"usearch.{self.dtype}"))
        self._vectors = VectorFile(self.folder / VECTORS)

    def search(self, query: FloatArray, allowed: Ids | None = None) -> Ids:
        """Search; int8 candidates are scored again."""
        self._opened.expansion_search = self.ef_search
        count = RESCORED if self.dtype == "i8" else K
        if allowed is not None:
            count = min(len(self._vectors), int(1.5 * count * len(self._vectors) / max(1, len(allowed))))
        rows = self._opened.search(query[0], count, threads=1).keys.astype(np.int64)
        if allowed is not None:
            rows = rows[np.isin(rows, allowed)]
        return rescored(query[0], K, rows, self._vectors)[0] if self.dtype == "i8" else rows[:K]

    def add(self, vectors: FloatArray) -> None:
        """Load a copy that can be written, and add."""
        writable = self._index()
        writable.load(str(self.folder / f"usearch.{self.dtype}"))
        writable.add(np.arange(len(self._vectors), len(self._vectors) + len(vectors)), vectors)
        self._opened = writable

    def close(self) -> None:
        """Drop the map of the index."""
        del self._opened


class UsearchI8(_Usearch):
    """usearch with int8 vectors, whose candidates are scored again from float16."""

    name = "usearch i8, rescored"
    dtype = "i8"


class UsearchF16(_Usearch):
    """usearch with float16 vectors."""

    name = "usearch f16"
    dtype = "f16"


class Hnswlib(IndexAdapter):
    """hnswlib: float32 vectors in memory; filters are Python functions."""

    name = "hnswlib"
    filters = "a Python function per node"

    def build(self, queries: Sequence[FloatArray]) -> None:
        """Add all vectors and save."""
        import hnswlib

        vectors = np.load(self.folder / VECTORS)
        index = hnswlib.Index(space="ip", dim=vectors.shape[1])
        index.init_index(max_elements=len(vectors), ef_construction=EF_CONSTRUCTION, M=M)
        index.add_items(vectors.astype(np.float32))
        index.save_index(str(self.folder / "hnswlib.bin"))

    def open(self) -> None:
        """Read the saved index."""
        import hnswlib

        dimension = np.load(self.folder / VECTORS, mmap_mode="r").shape[1]
        self._opened = hnswlib.Index(space="ip", dim=dimension)
        self._opened.load_index(str(self.folder / "hnswlib.bin"))

    def search(self, query: FloatArray, allowed: Ids | None = None) -> Ids:
        """Search, with a function over a set of rows as the filter."""
        self._opened.set_ef(self.ef_search)
        function: Callable[[int], bool] | None = None if allowed is None else set(allowed.tolist()).__contains__
        try:
            rows: NDArray[Any] = self._opened.knn_query(query, K, num_threads=1, filter=function)[0][0]
        except RuntimeError:
            # It raises when fewer than K rows are found behind a filter.
            return np.empty(0, np.int64)
        return rows.astype(np.int64)

    def add(self, vectors: FloatArray) -> None:
        """Enlarge the index, and add."""
        count = self._opened.get_current_count()
        self._opened.resize_index(count + len(vectors))
        self._opened.add_items(vectors, np.arange(count, count + len(vectors)))

    def close(self) -> None:
        """Drop the index."""
        del self._opened


ADAPTERS: dict[str, type[IndexAdapter]] = {
    adapter.name: adapter for adapter in (Babelclip, UsearchI8, UsearchF16, Hnswlib)
}
