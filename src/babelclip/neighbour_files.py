"""The neighbours of a catalog: exact while it is small; beyond that a graph beside it, which follows it.

``photos.bc.neighbours/`` holds one generation of files, named by ``current.json``. A new generation is written whole
beside the old one and then named, so that a kill at any moment leaves one that is whole. What is missing, damaged or of
another catalog is made anew from the catalog, which is the truth. Vectors that are newer than the generation are
compared exactly until there are enough of them for a new one.
"""

import hashlib
import json
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import faiss as typed_faiss
import numpy as np
from numpy.typing import NDArray

from babelclip.catalog import BLOCK_ROWS, Catalog, Mark
from babelclip.errors import CatalogError
from babelclip.neighbours import ExactNeighbours, Ids, is_among, merged
from babelclip.proximity_graph import Effort, Projection, ProximityGraph, exact_nearest
from babelclip.vector_file import VectorFile
from babelclip.vectors import FloatArray, unit_rows

# Its stubs tell of C++, not of the Python layer above it.
faiss: Any = typed_faiss

FORMAT = 2
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
TUNING_MARGIN = 0.0075
"""So much more must be found of what is tuned with: captions of real pictures are found that much worse."""
TUNING_IMAGES, TUNING_K = 200, 10
SPOT_CHECKS = 32
SEED = 0

Progress = Callable[[int, int], None]
Queries = Callable[[], Sequence[FloatArray]]


@dataclass(frozen=True, slots=True)
class Generation:
    """What ``current.json`` says: of which catalog the files are, how far they reach, how they were trained."""

    format: int
    identity: str
    name: str
    rows: int
    trained_rows: int
    vector: int
    removal: int
    breadth: int
    candidates: int
    recall: float
    checksum: str


class NeighbourFiles:
    """A generation of files that is open: a graph, its vectors and their ids."""

    def __init__(self, folder: Path, generation: Generation) -> None:
        """Open a generation.

        :param folder: where ``current.json`` is
        :param generation: what it says
        :raises CatalogError: if a file is missing or damaged
        """
        self.generation = generation
        place = folder / generation.name
        try:
            if _checksum(place) != generation.checksum:
                raise CatalogError(f"{place} is damaged")
            parts = np.load(place / "projection.npz")
            index = faiss.deserialize_index(np.fromfile(place / "index.faiss", dtype=np.uint8))
            self.graph = ProximityGraph(
                Projection(parts["mean"], parts["matrix"]),
                index,
                np.load(place / "rows.npy"),
                Effort(generation.breadth, generation.candidates),
            )
            self.vectors = VectorFile(place / "vectors.npy")
            self.ids: Ids = np.load(place / "ids.npy")
        except (OSError, EOFError, ValueError, KeyError, RuntimeError) as error:
            raise CatalogError(f"{place} is damaged: {error}") from None
        if not len(self.vectors) == len(self.ids) == len(self.graph) == generation.rows:
            raise CatalogError(f"{place} is damaged: its files do not belong together")

    def search(
        self, queries: FloatArray, k: int, *, allowed: Ids | None = None, alive: NDArray[np.bool_] | None = None
    ) -> tuple[Ids, FloatArray]:
        """Ids and cosines, nearest first.

        :param queries: float32 (m, d), unit rows
        :param k: how many
        :param allowed: int64, growing ids that may be found; None for all
        :param alive: bool (rows,), rows that are not gone; None for all
        :return: int64 (m, k) ids, -1 where there is none, and float32 (m, k) cosines
        """
        rows = alive
        if allowed is not None:
            rows = is_among(self.ids, allowed) if alive is None else is_among(self.ids, allowed) & alive
        ids = np.full((len(queries), k), -1, dtype=np.int64)
        scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
        for i, query in enumerate(queries):
            found, cosines = self.graph.search(query, k, self.vectors, allowed=rows)
            ids[i, : len(found)], scores[i, : len(found)] = self.ids[found], cosines
        return ids, scores


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
        self._gone: Ids = np.empty(0, np.int64)
        self._alive: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return (len(self._files.ids) if self._files else 0) + self._tail_rows() - len(self._gone)

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
            parts.append(self._files.search(queries, k, allowed=allowed, alive=self._alive))
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
            try:
                self._renew(self._files, progress)
            except BaseException:
                # The open graph may hold rows that its files do not.
                self._close()
                raise

    def _close(self) -> None:
        """Know nothing, as before the first ``follow``."""
        self._files, self._blocks, self._tail = None, [], None
        self._gone, self._alive = np.empty(0, np.int64), None
        self._mark = Mark()

    def _open(self) -> None:
        """Open the files that are there, if they are of this catalog and whole."""
        try:
            generation = Generation(**json.loads((self._folder / "current.json").read_text(encoding="utf-8")))
            if generation.format != FORMAT or generation.identity != self._catalog.identity:
                return
            files = NeighbourFiles(self._folder, generation)
            self._spot_check(files)
        except (OSError, ValueError, TypeError, CatalogError):
            return
        self._files = files
        self._mark = Mark(generation.vector, generation.removal)

    def _spot_check(self, files: NeighbourFiles) -> None:
        """Compare some vectors with the catalog's."""
        drawn = np.random.default_rng().choice(len(files.ids), min(SPOT_CHECKS, len(files.ids)), replace=False)
        for row in drawn:
            identity = int(files.ids[row])
            for ids, vectors in islice(self._catalog.vectors_since(identity - 1, block=1), 1):
                own = unit_rows(vectors)[0].astype(np.float16)
                if ids[0] == identity and not np.allclose(own, files.vectors[np.array([row])][0], atol=2e-3):
                    raise CatalogError(f"{self._folder}: a vector is not the catalog's")

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
            here = removed[is_among(removed, self._files.ids)]
            self._gone = np.union1d(self._gone, here)
            self._alive = ~is_among(self._files.ids, self._gone) if len(self._gone) else None

    def _outgrown(self, files: NeighbourFiles) -> bool:
        rows = len(files.ids)
        return self._tail_rows() > max(LEAST_TAIL, TAIL_SHARE * rows) or len(self._gone) > GONE_SHARE * rows

    def _renew(self, files: NeighbourFiles, progress: Progress | None) -> None:
        """Take the new vectors into the files; train anew where much has come or gone."""
        rows = len(files.ids) + self._tail_rows()
        if len(self._gone) > GONE_SHARE * len(files.ids) or rows > GROWTH * files.generation.trained_rows:
            self._build(progress)
            return
        place = _new_place(self._folder)
        vectors = np.lib.format.open_memmap(
            place / "vectors.npy", mode="w+", dtype=np.float16, shape=(rows, self._dimension)
        )
        vectors[: len(files.ids)] = files.vectors.mapped
        ids = np.concatenate([files.ids, *(ids for ids, _ in self._blocks)])
        start = len(files.ids)
        for _, block in self._blocks:
            vectors[start : start + len(block)] = block
            files.graph.add(block)
            start += len(block)
        files.graph.finish()
        # What went before stays noted as gone: the mark of removals is that of the old files.
        old = files.generation
        mark = Mark(self._mark.vector, old.removal)
        self._finish(place, files.graph, vectors, ids, mark, old.trained_rows, old.recall)

    def _build(self, progress: Progress | None) -> None:
        """Make the files from the catalog."""
        self._close()
        removal = self._catalog.mark().removal
        total = self._count()
        place = _new_place(self._folder)
        vectors, ids = self._copy_vectors(place, total)
        drawn = np.sort(np.random.default_rng(SEED).choice(len(ids), min(TRAINING_ROWS, len(ids)), replace=False))
        graph = ProximityGraph.trained(unit_rows(vectors[drawn].astype(np.float32)))
        for start, block in _blocks_of(vectors):
            graph.add(block.astype(np.float32))
            if progress is not None:
                progress(start + len(block), len(ids))
        graph.finish()
        images = vectors[np.sort(drawn[:: max(1, len(drawn) // TUNING_IMAGES)])].astype(np.float32)
        kinds = [*self._queries(), unit_rows(images)]
        truth = exact_nearest(np.concatenate(kinds), TUNING_K, (block for _, block in _blocks_of(vectors)))
        parts = np.split(truth, np.cumsum([len(kind) for kind in kinds])[:-1])
        recall = graph.tune(kinds, parts, vectors, TARGET_RECALL + TUNING_MARGIN)
        self._finish(place, graph, vectors, ids, Mark(int(ids[-1]), removal), len(ids), recall)

    def _copy_vectors(self, place: Path, total: int) -> "tuple[np.memmap[Any, np.dtype[np.float16]], Ids]":
        """The catalog's vectors in one mapped file; as many as there were when it began."""
        vectors = np.lib.format.open_memmap(
            place / "vectors.npy", mode="w+", dtype=np.float16, shape=(total, self._dimension)
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
            (place / "fewer.npy").replace(place / "vectors.npy")
            vectors = np.load(place / "vectors.npy", mmap_mode="r+")
        return vectors, ids[:start]

    def _finish(
        self,
        place: Path,
        graph: ProximityGraph,
        vectors: "np.memmap[Any, np.dtype[np.float16]]",
        ids: Ids,
        mark: Mark,
        trained_rows: int,
        recall: float,
    ) -> None:
        """Write a generation down, name it, open it, and delete the one before."""
        vectors.flush()
        np.save(place / "ids.npy", ids)
        np.save(place / "rows.npy", graph.rows)
        projection = graph.projection
        np.savez(
            place / "projection.npz",
            mean=projection.mean,
            matrix=projection.matrix,
        )
        faiss.serialize_index(graph.index).tofile(place / "index.faiss")
        effort = graph.effort
        generation = Generation(
            FORMAT,
            self._catalog.identity,
            place.name,
            len(ids),
            trained_rows,
            mark.vector,
            mark.removal,
            effort.breadth,
            effort.candidates,
            recall,
            _checksum(place),
        )
        written = place / "current.json"
        written.write_text(json.dumps(asdict(generation), indent=1), encoding="utf-8")
        written.replace(self._folder / "current.json")
        self._files = NeighbourFiles(self._folder, generation)
        self._blocks, self._tail = [], None
        self._mark = Mark(mark.vector, mark.removal)
        self._gone, self._alive = np.empty(0, np.int64), None
        self._remove()
        for other in self._folder.iterdir():
            if other.is_dir() and other != place:
                shutil.rmtree(other, ignore_errors=True)


def _new_place(folder: Path) -> Path:
    """An empty folder for a generation."""
    place = folder / secrets.token_hex(8)
    place.mkdir(parents=True)
    return place


def _checksum(place: Path) -> str:
    """Of the files of a generation but its vectors, which are as large as the collection and spot-checked."""
    found = hashlib.sha256()
    for name in ("index.faiss", "projection.npz", "rows.npy", "ids.npy"):
        with (place / name).open("rb") as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()


def _blocks_of(vectors: NDArray[np.float16]) -> Iterator[tuple[int, NDArray[np.float16]]]:
    """The rows of a mapped file in blocks, each with where it begins."""
    for start in range(0, len(vectors), BLOCK_ROWS):
        yield start, vectors[start : start + BLOCK_ROWS]
