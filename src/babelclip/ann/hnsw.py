"""HNSW search among hundreds of thousands of vectors and more (Malkov & Yashunin 2018).

The graph stores the principal components of the vectors, one byte each, and links. A search compares the query with the
entry points (rows drawn at random), searches the graph from the nearest of them, and rescores the best candidates with
their float16 vectors, which are in a file. Texts are far from all images, and the ten nearest images of a text are far
from each other: a search from the single entry point of plain HNSW reaches only some of them; from many entry points it
reaches more than twice as many for the same work. The alternatives that were measured are in docs/decisions.

All components share one byte step, so that codes are compared as integers, which is twice as fast; a random rotation
gives the components similar ranges. Near nodes are adjacent in memory, because memory latency dominates a search.
"""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import faiss as typed_faiss
import numpy as np
from numpy.typing import NDArray

from babelclip.ann.exact import ExactNeighbours, Ids, one_thread, selector
from babelclip.ann.hnsw_links import GraphLinks
from babelclip.vectors import FloatArray

# The stubs describe the C++ classes, not the Python layer above them.
faiss: Any = typed_faiss

COMPONENTS = 256
"""Principal components that the graph stores."""
CODE_RANGE_QUANTILE = 0.9999
"""Quantile of the absolute component values that a byte can represent; larger values are clipped."""
CODE_MIDDLE, MAX_CODE = 127.5, 255
M = 32
EF_CONSTRUCTION = 350
ENTRY_POINT_SHARE, MAX_ENTRY_POINTS = 0.04, 40_000
"""Entry points as a share of all rows, and their maximum number."""
ENTRY_LIST_SIZE, PROBED_LISTS = 160, 32
"""Entry points in one list of near ones, and the number of lists that a query is compared with."""
START_POINTS = 32
"""Entry points nearest to the query, from which the search starts."""
SEED = 0
ONE_SEARCH_FROM_ALL = 2
"""The ``search_type`` of FAISS's ``search_level_0`` for one search from all start points."""
MIN_GRAPH_SHARE = 0.5
"""Share of the entry points near the query that a filter must allow; below it all allowed rows are compared."""
NODE_COST = 60
"""Codes that a scan compares in the time that the graph search takes for one candidate of ef_search."""
PIVOTS, PIVOT_COMPONENTS, REGIONS = 4096, 64, 64
"""Nodes are ordered by their nearest pivot, measured by this many components; pivots are ordered by region."""
BLOCK_ROWS, COMPARED_ROWS = 50_000, 1000


class VectorSource(Protocol):
    """Float16 vectors by row number: an array, or a file that is read."""

    def __getitem__(self, rows: Ids, /) -> NDArray[np.float16]:
        """Read some rows.

        :param rows: int64 (n,)
        :return: float16 (n, d)
        """
        ...


@dataclass(frozen=True, slots=True)
class NodeMask:
    """The nodes that a search may return: bool (nodes,), and the bitmap that FAISS takes."""

    mask: NDArray[np.bool_]
    selector: Any


@dataclass(frozen=True, slots=True)
class Projection:
    """PCA to bytes: float32 mean (d,), and float32 matrix (d, r) to rotated principal components in byte steps."""

    mean: FloatArray
    matrix: FloatArray

    def apply(self, rows: FloatArray) -> FloatArray:
        """Compute the codes of rows, in the form that FAISS takes.

        :param rows: float32 (n, d)
        :return: float32 (n, r), integers in 0..255
        """
        steps = (rows - self.mean) @ self.matrix + np.float32(CODE_MIDDLE)
        codes: FloatArray = np.ascontiguousarray(np.clip(np.rint(steps), 0, MAX_CODE), dtype=np.float32)
        return codes


@dataclass(frozen=True, slots=True)
class Effort:
    """The work of one search: ``ef_search``, and the number of candidates that are rescored."""

    ef_search: int
    candidates: int


@dataclass(frozen=True, slots=True)
class EffortBands:
    """The effort for each range of entry distances (squared, in byte steps): ``efforts[i]`` below ``borders[i]``.

    The neighbours of a query that is near to an entry point are near to each other; those of a far one are scattered.
    """

    borders: tuple[float, ...]
    efforts: tuple[Effort, ...]

    def at(self, entry_distance: float) -> Effort:
        """Select the effort for a query.

        :param entry_distance: squared distance to its nearest entry point, in byte steps
        :return: the effort
        """
        return self.efforts[bisect_right(self.borders, entry_distance)]


def byte_projection(sample: FloatArray, components: int) -> Projection:
    """Fit a projection: principal components, a random rotation, and one byte step for all of them.

    :param sample: float32 (n, d)
    :param components: how many; at most d
    :return: the projection
    """
    mean = sample.mean(axis=0)
    _, directions = np.linalg.eigh(np.cov((sample - mean).T))
    rotation, _ = np.linalg.qr(np.random.default_rng(SEED).standard_normal((components, components)))
    matrix = (directions[:, ::-1][:, :components] @ rotation).astype(np.float32)
    largest = float(np.quantile(np.abs((sample - mean) @ matrix), CODE_RANGE_QUANTILE))
    return Projection(mean, np.ascontiguousarray(matrix * np.float32(CODE_MIDDLE / max(largest, 1e-6))))


PARAMETER_GRID = tuple(
    Effort(ef_search, candidates)
    for candidates, ef_searches in (
        (30, (32, 48, 64, 80, 96, 128, 160, 192, 224)),
        (40, (256, 288, 320, 352, 384, 448)),
        (60, (512, 640, 768, 896)),
        (100, (1024, 1280, 1536)),
    )
    for ef_search in ef_searches
)
"""The efforts that tuning tries."""
MAX_EFFORT = EffortBands((), PARAMETER_GRID[-1:])


class HnswGraph:
    """An HNSW graph over rows 0, 1, ..., whose float16 vectors are stored elsewhere, mostly in a file."""

    def __init__(
        self, projection: Projection, index: Any, rows: NDArray[np.int32], bands: EffortBands, memory: object = None
    ) -> None:
        """Assemble a graph from its parts; ``trained`` makes a new one.

        :param projection: from vectors to codes
        :param index: FAISS's IndexHNSWSQ
        :param rows: int32 (nodes,), the row of each node
        :param bands: how much work a search does
        :param memory: the memory that the index refers to, if it does not own it
        """
        self._memory = memory
        self.projection = projection
        self.index = index
        self.rows = rows
        self.bands = bands
        self._entry_points: tuple[Ids, Any] | None = None

    @classmethod
    def trained(cls, sample: FloatArray) -> "HnswGraph":
        """Make an empty graph whose projection is fitted to a sample.

        :param sample: float32 (n, d), unit rows
        :return: the graph
        """
        projection = byte_projection(sample, min(COMPONENTS, sample.shape[1]))
        index = faiss.IndexHNSWSQ(projection.matrix.shape[1], faiss.ScalarQuantizer.QT_8bit_direct, M)
        index.hnsw.efConstruction = EF_CONSTRUCTION
        index.is_trained = True
        return cls(projection, index, np.empty(0, np.int32), MAX_EFFORT)

    def __len__(self) -> int:
        return int(self.index.ntotal)

    def add(self, block: FloatArray) -> None:
        """Insert rows; call ``finish`` after the last ones.

        :param block: float32 (n, d), unit rows
        """
        self.index.add(self.projection.apply(block))
        self.rows = np.concatenate([self.rows, np.arange(len(self.rows), len(self), dtype=np.int32)])
        self._entry_points = None

    def finish(self) -> None:
        """Add reverse links, and reorder the nodes so that near ones are adjacent."""
        GraphLinks(self.index.hnsw).add_reverse_links()
        order = self._locality_order()
        self.index.permute_entries(order)
        self.rows = self.rows[order]
        self._entry_points = None

    def _locality_order(self) -> Ids:
        """Compute an order of the nodes in which near ones follow each other: int64 (nodes,)."""
        drawn = np.random.default_rng(SEED).choice(len(self), min(PIVOTS, len(self)), replace=False)
        pivots = self._first_components(self.index.reconstruct_batch(drawn))
        region = _nearest_pivot(pivots[:REGIONS], pivots)
        pivots = pivots[np.argsort(region, kind="stable")]
        nearest = [
            _nearest_pivot(
                pivots, self._first_components(self.index.reconstruct_n(start, min(BLOCK_ROWS, len(self) - start)))
            )
            for start in range(0, len(self), BLOCK_ROWS)
        ]
        order: Ids = np.argsort(np.concatenate(nearest), kind="stable")
        return order

    @staticmethod
    def _first_components(codes: FloatArray) -> FloatArray:
        """Take as many components as are needed to find the nearest pivot."""
        return np.ascontiguousarray(codes[:, :PIVOT_COMPONENTS])

    def node_mask(self, allowed: NDArray[np.bool_]) -> NodeMask:
        """Convert a mask of rows to a mask of nodes.

        :param allowed: bool (n,), rows that may be returned
        :return: the mask of their nodes, for any number of searches
        """
        mask = allowed[self.rows]
        return NodeMask(mask, selector(mask))

    def search(
        self, query: FloatArray, k: int, vectors: VectorSource, *, allowed: NodeMask | None = None
    ) -> tuple[Ids, FloatArray]:
        """Find the nearest rows.

        :param query: float32 (d,), unit
        :param k: how many
        :param vectors: float16 (n, d), the vectors of all rows
        :param allowed: nodes that may be returned; None for all
        :return: int64 rows and float32 cosines, nearest first; at most k
        """
        return rescored(query, k, self.candidates(query, k, allowed=allowed), vectors)

    def candidates(self, query: FloatArray, k: int, *, allowed: NodeMask | None = None) -> Ids:
        """Find the rows whose codes are nearest.

        :param query: float32 (d,), unit
        :param k: how many neighbours are wanted; at least three times as many candidates are returned if there are
        :param allowed: nodes that may be returned; None for all
        :return: int64 (n,) rows
        """
        code = self.projection.apply(query[None])
        nodes, entry_points = self._entry_index()
        bitmap = None if allowed is None else allowed.selector
        with one_thread():
            distances, nearest = entry_points.search(code, min(START_POINTS, len(nodes)))
            effort = self.bands.at(float(distances[0, 0]))
            count = min(max(effort.candidates, 3 * k), len(self))
            ef_search = max(effort.ef_search, 4 * k)
            # The search passes nodes that are not allowed too, so that ef_search grows with their share.
            share = 1.0 if allowed is None else float(allowed.mask[nodes[nearest]].mean())
            if share < MIN_GRAPH_SHARE or ef_search / share * NODE_COST > len(self):
                best = self._scan(code, max(count, PARAMETER_GRID[-1].candidates), bitmap)
            else:
                start_nodes = np.ascontiguousarray(nodes[nearest], dtype=np.int32)
                best = self._graph_search(code, count, int(ef_search / share), (start_nodes, distances), bitmap)
        rows: Ids = self.rows[best[best >= 0]].astype(np.int64)
        return rows

    def _scan(self, code: FloatArray, count: int, bitmap: Any | None) -> Ids:
        """Find the nearest nodes by comparing the codes of all that are allowed."""
        storage = faiss.downcast_index(self.index.storage)
        nodes: Ids = storage.search(code, min(count, len(self)), params=faiss.SearchParameters(sel=bitmap))[1][0]
        return nodes

    def _graph_search(
        self,
        code: FloatArray,
        count: int,
        ef_search: int,
        start: tuple[NDArray[np.int32], FloatArray],
        bitmap: Any | None,
    ) -> Ids:
        """Find near nodes by searching the graph from start nodes, which are given with their distances."""
        distances, best = np.empty((1, count), np.float32), np.empty((1, count), np.int64)
        start_nodes, start_distances = start
        self.index.search_level_0(
            1,
            faiss.swig_ptr(code),
            count,
            faiss.swig_ptr(start_nodes),
            faiss.swig_ptr(start_distances),
            faiss.swig_ptr(distances),
            faiss.swig_ptr(best),
            start_nodes.size,
            ONE_SEARCH_FROM_ALL,
            faiss.SearchParametersHNSW(efSearch=max(ef_search, count), sel=bitmap),
        )
        nodes: Ids = best[0]
        return nodes

    def _entry_index(self) -> tuple[Ids, Any]:
        """Draw the entry points: int64 (n,) nodes, and an inverted file (IVF) over their codes."""
        if self._entry_points is None:
            count = min(MAX_ENTRY_POINTS, max(START_POINTS, int(ENTRY_POINT_SHARE * len(self))), len(self))
            nodes = np.sort(np.random.default_rng(SEED).choice(len(self), count, replace=False))
            codes = self.index.reconstruct_batch(nodes)
            # Consecutive nodes are near each other, so that their means are centroids and k-means is not needed.
            centroids = [part.mean(axis=0) for part in np.array_split(codes, max(1, count // ENTRY_LIST_SIZE))]
            quantizer = faiss.IndexFlatL2(self.index.d)
            quantizer.add(np.stack(centroids))
            entry_points = faiss.IndexIVFScalarQuantizer(
                quantizer,
                quantizer.d,
                quantizer.ntotal,
                faiss.ScalarQuantizer.QT_8bit_direct,
                faiss.METRIC_L2,
                False,
            )
            entry_points.is_trained = True
            entry_points.nprobe = PROBED_LISTS
            entry_points.add(codes)
            self._entry_points = nodes, entry_points
        return self._entry_points

    def entry_distances(self, queries: FloatArray) -> FloatArray:
        """Compute the distances of queries to their nearest entry points.

        :param queries: float32 (m, d), unit rows
        :return: float32 (m,), squared, in byte steps
        """
        _, entry_points = self._entry_index()
        distances: FloatArray = entry_points.search(self.projection.apply(queries), 1)[0][:, 0]
        return distances


def _nearest_pivot(pivots: FloatArray, codes: FloatArray) -> Ids:
    """Find the nearest pivot of each code: int64 (n,)."""
    half_norms = np.square(pivots).sum(axis=1) / 2
    nearest: Ids = np.concatenate(
        [
            (codes[start : start + COMPARED_ROWS] @ pivots.T - half_norms).argmax(axis=1)
            for start in range(0, len(codes), COMPARED_ROWS)
        ]
    )
    return nearest


def rescored(query: FloatArray, k: int, rows: Ids, vectors: VectorSource) -> tuple[Ids, FloatArray]:
    """Select the nearest of some rows by their float16 vectors.

    :param query: float32 (d,), unit
    :param k: how many
    :param rows: int64 (n,)
    :param vectors: float16 (all, d)
    :return: int64 rows and float32 cosines, nearest first
    """
    scores: FloatArray = vectors[rows].astype(np.float32) @ query
    if len(rows) > k:
        best = np.argpartition(-scores, k - 1)[:k]
        rows, scores = rows[best], scores[best]
    order = np.lexsort((rows, -scores))
    return rows[order], scores[order]


def ground_truth(queries: FloatArray, k: int, blocks: Iterable[NDArray[np.float16]]) -> Ids:
    """Find the exact nearest rows by comparing with all vectors, block by block.

    :param queries: float32 (m, d), unit rows
    :param k: how many
    :param blocks: float16 (n, d), all vectors in order
    :return: int64 (m, k) rows
    """
    best = faiss.ResultHeap(len(queries), k, keep_max=True)
    start = 0
    for block in blocks:
        numbers = np.arange(start, start + len(block))
        rows, scores = ExactNeighbours(numbers, block.astype(np.float32)).search(queries, k)
        best.add_result(scores, rows)
        start += len(block)
    best.finalize()
    nearest: Ids = best.I
    return nearest
