"""Nearest vectors among hundreds of thousands and more: a graph of neighbours (HNSW, Malkov & Yashunin 2018).

The graph holds the vectors' principal components, a byte each, and links. A search compares the query with some rows
drawn at random, the gates, walks the graph from the nearest of them towards the query, and then scores the best
candidates by their float16 vectors, which are in a file. Texts lie far from all pictures, and the ten nearest pictures
of a text lie far from each other: from the graph's own one entry a walk ends beside some of them; from gates it reaches
more than twice as much for the same work. What else was measured, such as lists (IVF), is in docs/decisions.

A byte is the same step in every component, so that bytes are compared as whole numbers, which is twice as fast; for
that the components are turned at random, which makes them alike in size. Nodes that are near each other are side by
side in memory, because a walk waits for memory most of its time.
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

# Its stubs tell of C++, not of the Python layer above it.
faiss: Any = typed_faiss

DIMENSIONS = 256
"""Principal components in the graph."""
REACH_SHARE = 0.9999
"""Of the turned components' sizes, that a byte reaches; larger ones are cut."""
MIDDLE, HIGHEST = 127.5, 255
LINKS = 32
BUILD_BREADTH = 350
GATE_SHARE, MOST_GATES = 0.04, 40_000
"""Rows at which a walk may begin, as a share of all; and no more than so many."""
LIST_GATES, PROBED = 160, 32
"""Gates in a list of near ones, and the lists of which all gates are compared."""
ENTRIES = 32
"""The gates at which it does begin."""
SEED = 0
ALL_ENTRIES_AT_ONCE = 2
"""FAISS's number for one walk from all entries."""
WALKED_SHARE = 0.5
"""Of the gates near a query, that a filter must let through; else all that it lets through are compared."""
NODE_COST = 60
"""Rows that are compared in the time of one open node of a walk."""
PLACES, PLACE_COMPONENTS, REGIONS = 4096, 64, 64
"""Nodes are laid side by side that are nearest to the same place, by so many components; places of a region too."""
BLOCK, SCORED = 50_000, 1000


class Rows(Protocol):
    """Float16 vectors by their rows: an array, or a file that is read."""

    def __getitem__(self, rows: Ids, /) -> NDArray[np.float16]:
        """Some of them.

        :param rows: int64 (n,)
        :return: float16 (n, d)
        """
        ...


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes that may be found: bool (nodes,), and as FAISS takes them."""

    mask: NDArray[np.bool_]
    selector: Any


@dataclass(frozen=True, slots=True)
class Projection:
    """To bytes: float32 mean (d,), and matrix (d, r) to principal components, turned and in steps of a byte."""

    mean: FloatArray
    matrix: FloatArray

    def apply(self, rows: FloatArray) -> FloatArray:
        """The bytes of rows, as FAISS takes them.

        :param rows: float32 (n, d)
        :return: float32 (n, r), whole numbers in 0..255
        """
        steps = (rows - self.mean) @ self.matrix + np.float32(MIDDLE)
        found: FloatArray = np.ascontiguousarray(np.clip(np.rint(steps), 0, HIGHEST), dtype=np.float32)
        return found


@dataclass(frozen=True, slots=True)
class Effort:
    """How much a search does: nodes that it holds open, and candidates that are scored exactly."""

    breadth: int
    candidates: int


@dataclass(frozen=True, slots=True)
class Efforts:
    """The effort for a query by how far its nearest gate is, squared and in steps of a byte: one between two borders.

    A query that is near has its nearest rows around it; those of one that is far from all lie far apart.
    """

    borders: tuple[float, ...]
    steps: tuple[Effort, ...]

    def at(self, distance: float) -> Effort:
        """The effort for a query.

        :param distance: to its nearest gate
        :return: the effort
        """
        return self.steps[bisect_right(self.borders, distance)]


def byte_projection(sample: FloatArray, dimensions: int) -> Projection:
    """The directions in which vectors differ most, turned at random, and as large a step as their bytes need.

    :param sample: float32 (n, d)
    :param dimensions: how many of them; no more than d
    :return: the projection
    """
    mean = sample.mean(axis=0)
    _, directions = np.linalg.eigh(np.cov((sample - mean).T))
    turn, _ = np.linalg.qr(np.random.default_rng(SEED).standard_normal((dimensions, dimensions)))
    matrix = (directions[:, ::-1][:, :dimensions] @ turn).astype(np.float32)
    reach = float(np.quantile(np.abs((sample - mean) @ matrix), REACH_SHARE))
    return Projection(mean, np.ascontiguousarray(matrix * np.float32(MIDDLE / max(reach, 1e-6))))


LADDER = tuple(
    Effort(breadth, candidates)
    for candidates, breadths in (
        (30, (32, 48, 64, 80, 96, 128, 160, 192, 224)),
        (40, (256, 288, 320, 352, 384, 448)),
        (60, (512, 640, 768, 896)),
        (100, (1024, 1280, 1536)),
    )
    for breadth in breadths
)
"""The efforts of which tuning chooses."""
WIDEST = Efforts((), LADDER[-1:])


class ProximityGraph:
    """An index of rows 0, 1, ... whose float16 vectors are beside it, mostly in a file."""

    def __init__(
        self, projection: Projection, index: Any, rows: NDArray[np.int32], efforts: Efforts, memory: object = None
    ) -> None:
        """Join its parts; ``trained`` makes a new one.

        :param projection: to the space of the graph
        :param index: the graph
        :param rows: int32 (nodes,), the row of each node
        :param efforts: how much a search does
        :param memory: of the index, where that is not its own
        """
        self._memory = memory
        self.projection = projection
        self.index = index
        self.rows = rows
        self.efforts = efforts
        self._gates: tuple[Ids, Any] | None = None

    @classmethod
    def trained(cls, sample: FloatArray) -> "ProximityGraph":
        """An empty graph for vectors such as these.

        :param sample: float32 (n, d), unit rows
        :return: the graph
        """
        projection = byte_projection(sample, min(DIMENSIONS, sample.shape[1]))
        index = faiss.IndexHNSWSQ(projection.matrix.shape[1], faiss.ScalarQuantizer.QT_8bit_direct, LINKS)
        index.hnsw.efConstruction = BUILD_BREADTH
        index.is_trained = True
        return cls(projection, index, np.empty(0, np.int32), WIDEST)

    def __len__(self) -> int:
        return int(self.index.ntotal)

    def add(self, block: FloatArray) -> None:
        """Take more rows in.

        :param block: float32 (n, d), unit rows
        """
        self.index.add(self.projection.apply(block))
        self.rows = np.concatenate([self.rows, np.arange(len(self.rows), len(self), dtype=np.int32)])
        self._gates = None

    def finish(self) -> None:
        """Link more, and lay nodes that are near each other side by side, after the last rows were added."""
        GraphLinks(self.index.hnsw).add_ways_back()
        order = self._side_by_side()
        self.index.permute_entries(order)
        self.rows = self.rows[order]
        self._gates = None

    def _side_by_side(self) -> Ids:
        """The nodes in an order in which near ones follow each other."""
        drawn = np.random.default_rng(SEED).choice(len(self), min(PLACES, len(self)), replace=False)
        places = self._components(self.index.reconstruct_batch(drawn))
        region = _nearest_of(places[:REGIONS], places)
        places = places[np.argsort(region, kind="stable")]
        nearest = [
            _nearest_of(places, self._components(self.index.reconstruct_n(start, min(BLOCK, len(self) - start))))
            for start in range(0, len(self), BLOCK)
        ]
        order: Ids = np.argsort(np.concatenate(nearest), kind="stable")
        return order

    @staticmethod
    def _components(points: FloatArray) -> FloatArray:
        """As many components as tell which place is nearest."""
        return np.ascontiguousarray(points[:, :PLACE_COMPONENTS])

    def nodes(self, allowed: NDArray[np.bool_]) -> Nodes:
        """The nodes of rows.

        :param allowed: bool (n,), rows that may be found
        :return: their nodes, for any number of searches
        """
        mask = allowed[self.rows]
        return Nodes(mask, selector(mask))

    def search(
        self, query: FloatArray, k: int, vectors: Rows, *, allowed: Nodes | None = None
    ) -> tuple[Ids, FloatArray]:
        """The nearest rows.

        :param query: float32 (d,), unit
        :param k: how many
        :param vectors: float16 (n, d), the vectors of all rows
        :param allowed: what may be found; None for all
        :return: int64 rows and float32 cosines, nearest first; up to k
        """
        return exact_best(query, k, self._candidates(query, k, allowed), vectors)

    def _candidates(self, query: FloatArray, k: int, allowed: Nodes | None = None) -> Ids:
        """The rows that seem to be nearest by their bytes."""
        point = self.projection.apply(query[None])
        nodes, gates = self._opened_gates()
        only = None if allowed is None else allowed.selector
        with one_thread():
            near, found = gates.search(point, min(ENTRIES, len(nodes)))
            effort = self.efforts.at(float(near[0, 0]))
            count = min(max(effort.candidates, 3 * k), len(self))
            breadth = max(effort.breadth, 4 * k)
            # Nodes that are not allowed are walked over too, so more must be held open to reach as many that are.
            share = 1.0 if allowed is None else float(allowed.mask[nodes[found]].mean())
            if share < WALKED_SHARE or breadth / share * NODE_COST > len(self):
                best = self._scanned(point, max(count, LADDER[-1].candidates), only)
            else:
                entries = np.ascontiguousarray(nodes[found], dtype=np.int32)
                best = self._walked(point, count, int(breadth / share), (entries, near), only)
        kept: Ids = self.rows[best[best >= 0]].astype(np.int64)
        return kept

    def _scanned(self, point: FloatArray, count: int, only: Any | None) -> Ids:
        """The nearest nodes, by comparing with all that are allowed."""
        codes = faiss.downcast_index(self.index.storage)
        found: Ids = codes.search(point, min(count, len(self)), params=faiss.SearchParameters(sel=only))[1][0]
        return found

    def _walked(
        self,
        point: FloatArray,
        count: int,
        breadth: int,
        gates: tuple[NDArray[np.int32], FloatArray],
        only: Any | None,
    ) -> Ids:
        """The nearest nodes that a walk from gates, which have distances, comes to."""
        distances, best = np.empty((1, count), np.float32), np.empty((1, count), np.int64)
        entries, near = gates
        self.index.search_level_0(
            1,
            faiss.swig_ptr(point),
            count,
            faiss.swig_ptr(entries),
            faiss.swig_ptr(near),
            faiss.swig_ptr(distances),
            faiss.swig_ptr(best),
            entries.size,
            ALL_ENTRIES_AT_ONCE,
            faiss.SearchParametersHNSW(efSearch=max(breadth, count), sel=only),
        )
        found: Ids = best[0]
        return found

    def _opened_gates(self) -> tuple[Ids, Any]:
        """The nodes that are gates, and what compares with them."""
        if self._gates is None:
            count = min(MOST_GATES, max(ENTRIES, int(GATE_SHARE * len(self))), len(self))
            nodes = np.sort(np.random.default_rng(SEED).choice(len(self), count, replace=False))
            points = self.index.reconstruct_batch(nodes)
            # Nodes that follow each other are near each other: nothing need be learned.
            middles = [part.mean(axis=0) for part in np.array_split(points, max(1, count // LIST_GATES))]
            lists = faiss.IndexFlatL2(self.index.d)
            lists.add(np.stack(middles))
            gates = faiss.IndexIVFScalarQuantizer(
                lists, lists.d, lists.ntotal, faiss.ScalarQuantizer.QT_8bit_direct, faiss.METRIC_L2, False
            )
            gates.is_trained = True
            gates.nprobe = PROBED
            gates.add(points)
            self._gates = nodes, gates
        return self._gates

    def nearness(self, queries: FloatArray) -> FloatArray:
        """How far the nearest gate is.

        :param queries: float32 (m, d), unit rows
        :return: float32 (m,), squared, in steps of a byte
        """
        _, gates = self._opened_gates()
        near: FloatArray = gates.search(self.projection.apply(queries), 1)[0][:, 0]
        return near


def _nearest_of(places: FloatArray, points: FloatArray) -> Ids:
    """Which place is nearest to each point."""
    sizes = np.square(places).sum(axis=1) / 2
    found: Ids = np.concatenate(
        [(points[start : start + SCORED] @ places.T - sizes).argmax(axis=1) for start in range(0, len(points), SCORED)]
    )
    return found


def exact_best(query: FloatArray, k: int, rows: Ids, vectors: Rows) -> tuple[Ids, FloatArray]:
    """The best of some rows by their own vectors.

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


def exact_nearest(queries: FloatArray, k: int, blocks: Iterable[NDArray[np.float16]]) -> Ids:
    """The nearest rows by comparing with all, block by block: what an index is measured against.

    :param queries: float32 (m, d), unit rows
    :param k: how many
    :param blocks: float16 (n, d), all vectors in order
    :return: int64 (m, k) rows
    """
    best = faiss.ResultHeap(len(queries), k, keep_max=True)
    start = 0
    for block in blocks:
        rows, scores = ExactNeighbours(np.arange(start, start + len(block)), block.astype(np.float32)).search(
            queries, k
        )
        best.add_result(scores, rows)
        start += len(block)
    best.finalize()
    found: Ids = best.I
    return found
