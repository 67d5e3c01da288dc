"""Building, growing and tuning the snapshot of a catalog; searches only read it.

What is missing, damaged or of another catalog is built again from the catalog, which is the truth.
"""

import shutil
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from babelclip.ann.effort_tuning import TuningQueries, tune
from babelclip.ann.exact import Ids
from babelclip.ann.hnsw import HnswGraph, VectorSource, ground_truth
from babelclip.ann.snapshot import (
    VECTORS,
    Manifest,
    SnapshotFiles,
    SnapshotState,
    manifest_stamp,
    new_place,
    read_manifest,
    write_manifest,
    write_snapshot,
)
from babelclip.catalog.vector_reader import BLOCK_ROWS, VectorReader
from babelclip.errors import CatalogError
from babelclip.stores.base import QuerySource, StoreProgress, no_queries
from babelclip.vectors import FloatArray, unit_rows

EXACT_UP_TO = 50_000
"""Vectors of a collection without a graph; for more of them a graph is faster by over an order of magnitude."""
RECENT_SHARE, MIN_RECENT = 0.05, 10_000
"""Vectors newer than the snapshot before it grows, as a share of its rows, and at least this many."""
REMOVED_SHARE = 0.1
"""Removed vectors, as a share of the rows, beyond which the graph is built again."""
GROWTH = 2.0
"""Rows, relative to those that the projection was fitted for, beyond which the graph is built again."""
TRAINING_ROWS = 200_000
TARGET_RECALL = 0.98
TUNING_MARGIN = 0.01
"""Added to the target while tuning: captions have slightly lower recall than tuning queries, and chance takes as much.
"""
TUNING_IMAGES, TUNING_K = 200, 10
SPOT_CHECKS = 32
SEED = 0
LOCK = "maintenance.lock"
LOCK_POLL_SECONDS = 0.2

Task = Literal["build", "grow", "tune"]


def snapshot_folder(reader: VectorReader) -> Path:
    """Name the folder of a catalog's snapshots.

    :param reader: reads the vectors of the catalog
    :return: the folder; it may not be there
    """
    return reader.path.with_name(reader.path.name + ".neighbours")


def matches(files: SnapshotFiles, reader: VectorReader) -> bool:
    """Compare some vectors of a snapshot with those of its catalog.

    :param files: the files of the snapshot
    :param reader: reads the vectors of the catalog
    :return: whether they agree
    """
    drawn = np.random.default_rng().choice(len(files.ids), min(SPOT_CHECKS, len(files.ids)), replace=False)
    for row in drawn:
        identity = int(files.ids[row])
        ids, vectors = next(reader.vectors_since(identity - 1, block=1), (np.zeros(1, np.int64), None))
        if vectors is None or ids[0] != identity:
            continue
        if not np.allclose(unit_rows(vectors)[0], files.vectors[np.array([row])][0].astype(np.float32), atol=2e-3):
            return False
    return True


class GraphMaintenance:
    """Keeps the snapshot of one catalog up to date. Several processes may try; a lock lets one work at a time."""

    def __init__(self, reader: VectorReader, dimension: int, *, exact_up_to: int | None = None) -> None:
        """Take an open catalog; nothing is read yet.

        :param reader: reads the vectors of the catalog
        :param dimension: of its vectors
        :param exact_up_to: vectors of a collection that needs no graph; None for EXACT_UP_TO
        """
        self._reader = reader
        self._dimension = dimension
        self._exact_up_to = EXACT_UP_TO if exact_up_to is None else exact_up_to
        self._folder = snapshot_folder(reader)
        self._idle_state: object = None
        self._verified: object = None

    def run(self, queries: QuerySource = no_queries, progress: StoreProgress | None = None) -> bool:
        """Build, grow or tune the graph, if it is due.

        :param queries: gives the tuning queries, float32 (m, d) unit rows of each kind of text; called only if needed
        :param progress: gets the number of vectors in the new graph, and of all; what it raises cancels the work
        :return: whether anything was done
        """
        state = (manifest_stamp(self._folder), self._reader.cursor(), queries is no_queries)
        if state == self._idle_state:
            return False
        if self._due(self._manifest(), queries) is not None:
            with _exclusive(self._folder):
                # Another process may have done it while this one waited.
                manifest = self._manifest()
                task = self._due(manifest, queries)
                if task == "tune" and manifest is not None:
                    self._tune(manifest, queries)
                elif task == "grow" and manifest is not None:
                    self._grow(manifest, progress)
                elif task is not None:
                    self._build(queries, progress)
            return task is not None
        self._idle_state = state
        return False

    def _manifest(self) -> Manifest | None:
        """Read the manifest of a snapshot that is complete and of this catalog; its files are checked once."""
        manifest = read_manifest(self._folder, self._reader.identity)
        if manifest is None or self._verified == (manifest.name, manifest.checksum):
            return manifest
        try:
            if not matches(SnapshotFiles(self._folder, manifest), self._reader):
                return None
        except CatalogError:
            return None
        self._verified = (manifest.name, manifest.checksum)
        return manifest

    def _due(self, manifest: Manifest | None, queries: QuerySource) -> Task | None:
        """Decide what there is to do."""
        if manifest is None:
            return "build" if self._count(0) > self._exact_up_to else None
        recent = self._count(manifest.vector)
        removed = "SELECT count(*) FROM removals WHERE id > ? AND vector <= ?"
        gone = int(self._reader.rows(removed, (manifest.removal, manifest.vector))[0][0])
        rows = manifest.rows + recent
        if gone > REMOVED_SHARE * manifest.rows:
            return "build"
        if recent > max(MIN_RECENT, RECENT_SHARE * manifest.rows):
            return "build" if rows > GROWTH * manifest.trained_rows else "grow"
        return "tune" if not manifest.text_tuned and queries() else None

    def _count(self, after: int) -> int:
        """Count the vectors after an id; the sign makes SQLite count in an index, not in the vectors themselves."""
        return int(self._reader.rows("SELECT count(*) FROM vectors WHERE +id > ?", (after,))[0][0])

    def _build(self, queries: QuerySource, progress: StoreProgress | None) -> None:
        """Build a snapshot from the catalog."""
        removal = self._reader.cursor().removal
        with _new_place(self._folder) as place:
            vectors, ids = self._copy_vectors(place, None)
            drawn = np.sort(np.random.default_rng(SEED).choice(len(ids), min(TRAINING_ROWS, len(ids)), replace=False))
            graph = HnswGraph.trained(unit_rows(vectors[drawn].astype(np.float32)))
            _add_rows(graph, vectors, 0, progress)
            texts = queries()
            images = vectors[np.sort(drawn[:: max(1, len(drawn) // TUNING_IMAGES)])].astype(np.float32)
            recall = _tuned(graph, unit_rows(images), texts, vectors, vectors)
            state = SnapshotState(
                identity=self._reader.identity,
                trained_rows=len(ids),
                vector=int(ids[-1]),
                removal=removal,
                recall=recall,
                text_tuned=bool(texts),
            )
            self._write(place, graph, ids, state)

    def _grow(self, manifest: Manifest, progress: StoreProgress | None) -> None:
        """Add the vectors that are newer than a snapshot to its graph."""
        files = SnapshotFiles(self._folder, manifest)
        with _new_place(self._folder) as place:
            vectors, ids = self._copy_vectors(place, files)
            graph = files.graph_to_grow()
            _add_rows(graph, vectors, len(files.ids), progress)
            # Earlier removals are masked again: the cursor of removals stays that of the old snapshot.
            state = SnapshotState(
                identity=manifest.identity,
                trained_rows=manifest.trained_rows,
                vector=int(ids[-1]),
                removal=manifest.removal,
                recall=manifest.recall,
                text_tuned=manifest.text_tuned,
            )
            self._write(place, graph, ids, state)

    def _tune(self, manifest: Manifest, queries: QuerySource) -> None:
        """Tune a graph that was built where no model was at hand to encode texts."""
        files = SnapshotFiles(self._folder, manifest)
        drawn = np.random.default_rng(SEED).choice(len(files.ids), min(TUNING_IMAGES, len(files.ids)), replace=False)
        images = unit_rows(files.vectors[np.sort(drawn)].astype(np.float32))
        graph = files.graph_to_search()
        recall = _tuned(graph, images, queries(), files.vectors.mapped, files.vectors)
        write_manifest(self._folder, replace(manifest, bands=graph.bands, recall=recall, text_tuned=True))

    def _copy_vectors(self, place: Path, old: SnapshotFiles | None) -> tuple[Any, Ids]:
        """Copy the vectors of an old snapshot, and those of the catalog that are newer, to a mapped file.

        As many are copied as there are at the beginning; some may be removed meanwhile.
        """
        start, after = (0, 0) if old is None else (len(old.ids), old.manifest.vector)
        total = start + self._count(after)
        shape = (total, self._dimension)
        vectors = np.lib.format.open_memmap(place / VECTORS, mode="w+", dtype=np.float16, shape=shape)
        ids = np.empty(total, dtype=np.int64)
        if old is not None:
            vectors[:start], ids[:start] = old.vectors.mapped, old.ids
        for some, block in self._reader.vectors_since(after):
            count = min(len(some), total - start)
            vectors[start : start + count] = unit_rows(block)[:count]
            ids[start : start + count] = some[:count]
            start += count
            if start == total:
                break
        if start < total:
            np.save(place / "fewer.npy", vectors[:start])
            (place / "fewer.npy").replace(place / VECTORS)
            vectors = np.load(place / VECTORS, mmap_mode="r+")
        vectors.flush()
        return vectors, ids[:start]

    def _write(self, place: Path, graph: HnswGraph, ids: Ids, state: SnapshotState) -> None:
        """Write a snapshot, which needs no check afterwards."""
        manifest = write_snapshot(place, graph, ids, state)
        self._verified = (manifest.name, manifest.checksum)


def _add_rows(graph: HnswGraph, vectors: NDArray[np.float16], start: int, progress: StoreProgress | None) -> None:
    """Add the rows of a mapped file from one on."""
    for first in range(start, len(vectors), BLOCK_ROWS):
        block = vectors[first : first + BLOCK_ROWS].astype(np.float32)
        graph.add(block)
        if progress is not None:
            progress(first + len(block), len(vectors))
    graph.finish()


def _tuned(
    graph: HnswGraph,
    images: FloatArray,
    texts: Sequence[FloatArray],
    rows: NDArray[np.float16],
    vectors: VectorSource,
) -> float:
    """Tune a graph over all rows with queries of every kind; gives the lowest recall of a kind."""
    kinds = [images, *texts]
    blocks = (rows[start : start + BLOCK_ROWS] for start in range(0, len(rows), BLOCK_ROWS))
    truth = ground_truth(np.concatenate(kinds), TUNING_K, blocks)
    parts = np.split(truth, np.cumsum([len(kind) for kind in kinds])[:-1])
    first, *others = (TuningQueries(kind, part) for kind, part in zip(kinds, parts, strict=True))
    return tune(graph, first, others, vectors, TARGET_RECALL + TUNING_MARGIN)


@contextmanager
def _new_place(folder: Path) -> Iterator[Path]:
    """Make a folder for a snapshot, and delete it if the snapshot is not finished."""
    place = new_place(folder)
    try:
        yield place
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise


@contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """Wait until no other process or thread maintains a snapshot in a folder, and keep others out.

    SQLite's lock works on every platform, and ends with the process that holds it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = sqlite3.connect(folder / LOCK, timeout=0, isolation_level=None)
    except (OSError, sqlite3.OperationalError) as error:
        raise CatalogError(f"the graph of an index cannot be written to {folder}: {error}") from None
    with closing(lock):
        while not _locked(lock):
            time.sleep(LOCK_POLL_SECONDS)
        yield


def _locked(lock: sqlite3.Connection) -> bool:
    """Try to take a lock."""
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
            raise CatalogError(f"the graph of an index cannot be written: {error}") from None
        return False
    return True
