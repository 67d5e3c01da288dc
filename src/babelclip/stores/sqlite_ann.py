"""The neighbours of a catalog: exact while it is small; beyond that a graph beside it, which follows it.

What is missing, damaged or of another catalog is made anew from the catalog, which is the truth. Vectors that are newer
than the files are compared exactly until there are enough of them for new ones.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from babelclip.ann.effort_tuning import Asked, tune
from babelclip.ann.exact import ExactNeighbours, Ids, is_among, merged
from babelclip.ann.hnsw import ProximityGraph, exact_nearest
from babelclip.ann.snapshot import VECTORS, NeighbourFiles, Reach, new_place
from babelclip.ann.vector_file import VectorFile
from babelclip.catalog.catalog import Catalog
from babelclip.catalog.vector_reader import BLOCK_ROWS, Mark
from babelclip.vectors import FloatArray, unit_rows

EXACT_UP_TO = 50_000
"""Vectors; beyond that a graph is faster by more than an order of magnitude."""
TAIL_SHARE, LEAST_TAIL = 0.05, 10_000
"""New vectors that wait to be taken into the files, as a share of those in them; and at least so many."""
GONE_SHARE = 0.1
"""Of the rows; beyond that the files are made anew."""
GROWTH = 2.0
"""After which the components are chosen anew."""
TRAINING_ROWS = 200_000
TARGET_RECALL = 0.98
TUNING_MARGIN = 0.01
"""So much more must be found of what is tuned with: captions are found a little worse, and chance takes as much."""
TUNING_IMAGES, TUNING_K = 200, 10
SPOT_CHECKS = 32
SEED = 0

Progress = Callable[[int, int], None]
Queries = Callable[[], Sequence[FloatArray]]


class CatalogNeighbours:
    """The neighbours of an open catalog, which follow what is written to it."""

    def __init__(self, catalog: Catalog, dimension: int, queries: Queries, *, exact_up_to: int | None = None) -> None:
        """Follow a catalog; nothing is read before the first search.

        :param catalog: the catalog
        :param dimension: of its vectors
        :param queries: gives float32 (m, d) unit rows of kinds of texts as they may be asked, to tune with
        :param exact_up_to: vectors that are compared exactly, more of them get a graph; None for EXACT_UP_TO
        """
        self._catalog = catalog
        self._dimension = dimension
        self._queries = queries
        self._exact_up_to = EXACT_UP_TO if exact_up_to is None else exact_up_to
        self._folder = catalog.path.with_name(catalog.path.name + ".neighbours")
        self._files: NeighbourFiles | None = None
        self._blocks: list[tuple[Ids, FloatArray]] = []
        self._tail: ExactNeighbours | None = None
        self._mark = Mark()

    def __len__(self) -> int:
        return (len(self._files.ids) - len(self._files.gone) if self._files else 0) + self._tail_rows()

    @property
    def files(self) -> NeighbourFiles | None:
        """The graph and what belongs to it, where there is one."""
        return self._files

    def search(self, queries: FloatArray, k: int, *, allowed: Ids | None = None) -> tuple[Ids, FloatArray]:
        """Ids and cosines, nearest first, as of the last ``follow``.

        :param queries: float32 (m, d), unit rows
        :param k: how many
        :param allowed: int64, growing ids that may be found; None for all
        :return: int64 (m, k) ids, -1 where there is none, and float32 (m, k) cosines
        """
        parts = []
        if self._files is not None:
            parts.append(self._files.search(queries, k, allowed=allowed))
            if not self._tail_rows():
                return parts[0]
        parts.append(self._exact().search(queries, k, allowed=allowed))
        return merged(parts, k)

    @property
    def mark(self) -> Mark:
        """How far the catalog has been followed."""
        return self._mark

    def vectors_of(self, ids: Ids) -> FloatArray:
        """The vectors of ids.

        :param ids: int64 (n,), as a search gave them
        :return: float32 (n, d), unit rows; zeros for an id that is not there
        """
        found = np.zeros((len(ids), self._dimension), dtype=np.float32)
        parts: list[tuple[Ids, FloatArray | VectorFile]] = list(self._blocks)
        if self._files is not None:
            parts.append((self._files.ids, self._files.vectors))
        for known, vectors in parts:
            here = is_among(ids, known)
            found[here] = vectors[np.searchsorted(known, ids[here])]
        return found

    def sample(self, size: int) -> FloatArray:
        """Vectors of the collection, drawn with a seed.

        :param size: how many; fewer come where there are fewer
        :return: float32 (n, d), unit rows
        """
        parts = [vectors for _, vectors in self._blocks]
        if self._files is not None:
            rows = len(self._files.ids)
            drawn = np.random.default_rng(SEED).choice(rows, min(size, rows), replace=False)
            parts.append(self._files.vectors[np.sort(drawn)].astype(np.float32))
        joined = np.concatenate(parts) if parts else np.empty((0, self._dimension), np.float32)
        if len(joined) <= size:
            return joined
        drawn = np.random.default_rng(SEED).choice(len(joined), size, replace=False)
        return joined[np.sort(drawn)]

    def follow(self, progress: Progress | None = None) -> None:
        """Take in what was written since; make or renew the files if need be.

        :param progress: is told how many vectors were taken into new files, and of how many
        """
        if self._files is None and not self._blocks and self._count() > self._exact_up_to:
            self._open()
        for ids, vectors in self._catalog.vectors_since(self._mark.vector):
            self._blocks.append((ids, unit_rows(vectors)))
            self._mark = Mark(int(ids[-1]), self._mark.removal)
            self._tail = None
            if self._files is None and self._tail_rows() > self._exact_up_to:
                self._build(progress)
                return
        self._remove()
        if self._files is not None and self._outgrown(self._files):
            self._renew(self._files, progress)

    def _close(self) -> None:
        """Know nothing, as before the first ``follow``."""
        self._files, self._blocks, self._tail = None, [], None
        self._mark = Mark()

    def _open(self) -> None:
        """Open the files that are there, if they are of this catalog and whole."""
        files = NeighbourFiles.current(self._folder, self._catalog.identity)
        if files is not None and self._agrees(files):
            self._files = files
            self._mark = Mark(files.generation.vector, files.generation.removal)

    def _agrees(self, files: NeighbourFiles) -> bool:
        """Whether some vectors are the catalog's."""
        drawn = np.random.default_rng().choice(len(files.ids), min(SPOT_CHECKS, len(files.ids)), replace=False)
        for row in drawn:
            identity = int(files.ids[row])
            for ids, vectors in islice(self._catalog.vectors_since(identity - 1, block=1), 1):
                own = unit_rows(vectors)[0].astype(np.float16)
                if ids[0] == identity and not np.allclose(own, files.vectors[np.array([row])][0], atol=2e-3):
                    return False
        return True

    def _count(self) -> int:
        return int(self._catalog.rows("SELECT count(*) FROM vectors")[0][0])

    def _tail_rows(self) -> int:
        return sum(len(ids) for ids, _ in self._blocks)

    def _exact(self) -> ExactNeighbours:
        """What compares with the vectors that are not in the files."""
        if self._tail is None:
            ids = np.concatenate([np.empty(0, np.int64), *(ids for ids, _ in self._blocks)])
            empty = np.empty((0, self._dimension), np.float32)
            vectors = np.concatenate([empty, *(vectors for _, vectors in self._blocks)])
            self._blocks = [(ids, vectors)]
            self._tail = ExactNeighbours(ids, vectors)
        return self._tail

    def _remove(self) -> None:
        """Take out what is gone from the catalog."""
        removed, last = self._catalog.removed_since(self._mark.removal)
        self._mark = Mark(self._mark.vector, last)
        if not len(removed):
            return
        removed = np.unique(removed)
        kept = []
        for ids, vectors in self._blocks:
            stays = ~is_among(ids, removed)
            kept.append((ids[stays], vectors[stays]))
        self._blocks, self._tail = kept, None
        if self._files is not None:
            self._files.leave_out(removed)

    def _outgrown(self, files: NeighbourFiles) -> bool:
        rows = len(files.ids)
        return self._tail_rows() > max(LEAST_TAIL, TAIL_SHARE * rows) or len(files.gone) > GONE_SHARE * rows

    def _renew(self, files: NeighbourFiles, progress: Progress | None) -> None:
        """Take the new vectors into the files; train anew where much has come or gone."""
        rows = len(files.ids) + self._tail_rows()
        if len(files.gone) > GONE_SHARE * len(files.ids) or rows > GROWTH * files.generation.trained_rows:
            self._build(progress)
            return
        place = new_place(self._folder)
        vectors = np.lib.format.open_memmap(place / VECTORS, mode="w+", dtype=np.float16, shape=(rows, self._dimension))
        vectors[: len(files.ids)] = files.vectors.mapped
        ids = np.concatenate([files.ids, *(ids for ids, _ in self._blocks)])
        graph = files.graph_to_grow()
        start = len(files.ids)
        for _, block in self._blocks:
            vectors[start : start + len(block)] = block
            graph.add(block)
            start += len(block)
        graph.finish()
        # What went before stays noted as gone: the mark of removals is that of the old files.
        old = files.generation
        reach = Reach(old.identity, old.trained_rows, self._mark.vector, old.removal, old.recall)
        self._finish(place, graph, vectors, ids, reach)

    def _build(self, progress: Progress | None) -> None:
        """Make the files from the catalog."""
        self._close()
        removal = self._catalog.mark().removal
        total = self._count()
        place = new_place(self._folder)
        vectors, ids = self._copy_vectors(place, total)
        drawn = np.sort(np.random.default_rng(SEED).choice(len(ids), min(TRAINING_ROWS, len(ids)), replace=False))
        graph = ProximityGraph.trained(unit_rows(vectors[drawn].astype(np.float32)))
        for start, block in _blocks_of(vectors):
            graph.add(block.astype(np.float32))
            if progress is not None:
                progress(start + len(block), len(ids))
        graph.finish()
        images = vectors[np.sort(drawn[:: max(1, len(drawn) // TUNING_IMAGES)])].astype(np.float32)
        kinds = [unit_rows(images), *self._queries()]
        truth = exact_nearest(np.concatenate(kinds), TUNING_K, (block for _, block in _blocks_of(vectors)))
        parts = np.split(truth, np.cumsum([len(kind) for kind in kinds])[:-1])
        pictures, *texts = (Asked(kind, part) for kind, part in zip(kinds, parts, strict=True))
        recall = tune(graph, pictures, texts, vectors, TARGET_RECALL + TUNING_MARGIN)
        self._finish(place, graph, vectors, ids, Reach(self._catalog.identity, len(ids), int(ids[-1]), removal, recall))

    def _copy_vectors(self, place: Path, total: int) -> "tuple[np.memmap[Any, np.dtype[np.float16]], Ids]":
        """The catalog's vectors in one mapped file; as many as there were when it began."""
        vectors = np.lib.format.open_memmap(
            place / VECTORS, mode="w+", dtype=np.float16, shape=(total, self._dimension)
        )
        ids = np.empty(total, dtype=np.int64)
        start = 0
        for some, block in self._catalog.vectors_since(0):
            count = min(len(some), total - start)
            vectors[start : start + count] = unit_rows(block)[:count]
            ids[start : start + count] = some[:count]
            start += count
            if start == total:
                break
        if start < total:
            # Some went while they were copied.
            np.save(place / "fewer.npy", vectors[:start])
            (place / "fewer.npy").replace(place / VECTORS)
            vectors = np.load(place / VECTORS, mmap_mode="r+")
        return vectors, ids[:start]

    def _finish(
        self,
        place: Path,
        graph: ProximityGraph,
        vectors: "np.memmap[Any, np.dtype[np.float16]]",
        ids: Ids,
        reach: Reach,
    ) -> None:
        """Write a generation down and follow it."""
        vectors.flush()
        self._files = NeighbourFiles.written(place, graph, ids, reach)
        self._blocks, self._tail = [], None
        self._mark = Mark(reach.vector, reach.removal)
        self._remove()


def _blocks_of(vectors: NDArray[np.float16]) -> Iterator[tuple[int, NDArray[np.float16]]]:
    """The rows of a mapped file in blocks, each with where it begins."""
    for start in range(0, len(vectors), BLOCK_ROWS):
        yield start, vectors[start : start + BLOCK_ROWS]
