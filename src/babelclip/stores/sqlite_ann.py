"""The nearest neighbours of a catalog: a snapshot where there is one, and exact search over all newer vectors.

Reading never builds: ``refresh`` reads what was written since and adopts a newer snapshot, and ``maintain`` builds it,
in this process or in another.
"""

import numpy as np

from babelclip.ann.exact import Ids, is_among, merged
from babelclip.ann.snapshot import Manifest, Snapshot, SnapshotFiles, Stamp, manifest_stamp, read_manifest
from babelclip.catalog.vector_reader import Cursor, VectorReader
from babelclip.errors import CatalogError
from babelclip.stores import graph_maintenance
from babelclip.stores.base import QuerySource, StoreProgress, no_queries
from babelclip.stores.graph_maintenance import GraphMaintenance, matches, snapshot_folder
from babelclip.stores.recent_vectors import RecentVectors
from babelclip.vectors import FloatArray

SEED = 0
HELD_SHARE = 0.06
"""Newer vectors that are held in memory, as a share of the rows of the graph: a little more than RECENT_SHARE."""


class CatalogNeighbours:
    """The nearest neighbours of an open catalog, as of the last ``refresh``."""

    def __init__(self, reader: VectorReader, dimension: int, *, exact_up_to: int | None = None) -> None:
        """Take an open catalog; nothing is read before the first ``refresh``.

        :param reader: reads the vectors of the catalog
        :param dimension: of its vectors
        :param exact_up_to: vectors of a collection that needs no graph; None for EXACT_UP_TO
        """
        self._reader = reader
        self._dimension = dimension
        self._exact_up_to = graph_maintenance.EXACT_UP_TO if exact_up_to is None else exact_up_to
        self._maintenance = GraphMaintenance(reader, dimension, exact_up_to=self._exact_up_to)
        self._folder = snapshot_folder(reader)
        self._stamp: Stamp | None = None
        self._snapshot: Snapshot | None = None
        self._recent = self._recent_after(0)
        self._cursor = Cursor()

    def __len__(self) -> int:
        return (len(self._snapshot) if self._snapshot is not None else 0) + len(self._recent)

    @property
    def manifest(self) -> Manifest | None:
        """The manifest of the snapshot that is searched; None where every vector is compared."""
        return None if self._snapshot is None else self._snapshot.manifest

    @property
    def held(self) -> int:
        """The number of vectors that are held in memory."""
        return self._recent.held

    @property
    def cursor(self) -> Cursor:
        """The last vector id and removal number that were read."""
        return self._cursor

    def maintain(self, queries: QuerySource = no_queries, progress: StoreProgress | None = None) -> bool:
        """Build, grow or tune the graph, if it is due; ``refresh`` adopts it.

        :param queries: gives the tuning queries, float32 (m, d) unit rows of each kind of text; called only if needed
        :param progress: gets the number of vectors in the new graph, and of all; what it raises cancels the work
        :return: whether anything was done
        """
        return self._maintenance.run(queries, progress)

    def refresh(self) -> None:
        """Read new and removed rows of the catalog, and adopt a newer snapshot; never build one."""
        self._adopt()
        newest = self._reader.cursor()
        if newest == self._cursor:
            return
        vector = self._recent.read(newest.vector) if newest.vector > self._cursor.vector else self._cursor.vector
        # Removals are read after vectors, so that none is missed.
        removed, last = self._reader.removed_since(self._cursor.removal)
        self._cursor = Cursor(vector, last)
        if len(removed):
            removed = np.unique(removed)
            self._recent.remove(removed)
            if self._snapshot is not None:
                self._snapshot.remove(removed)

    def _adopt(self) -> None:
        """Open the current snapshot if it is not the one that is open; one that is damaged is left to ``maintain``."""
        stamp = manifest_stamp(self._folder)
        if stamp is None or stamp == self._stamp:
            return
        if self._snapshot is None and not self._needs_graph():
            return
        self._stamp = stamp
        manifest = read_manifest(self._folder, self._reader.identity)
        if manifest is None:
            return
        if self._snapshot is not None and self._snapshot.manifest.name == manifest.name:
            self._snapshot.retune(manifest)
            return
        try:
            files = SnapshotFiles(self._folder, manifest)
            if matches(files, self._reader):
                self._snapshot = Snapshot(files)
                self._recent = self._recent_after(manifest.vector, rows=manifest.rows)
                self._cursor = Cursor(manifest.vector, manifest.removal)
        except CatalogError:
            return

    def _needs_graph(self) -> bool:
        return int(self._reader.rows("SELECT count(*) FROM vectors")[0][0]) > self._exact_up_to

    def _recent_after(self, vector: int, *, rows: int = 0) -> RecentVectors:
        """Hold as many vectors as there may be before a graph of so many rows grows."""
        max_held = max(self._exact_up_to, int(HELD_SHARE * rows))
        return RecentVectors(self._reader, self._dimension, after=vector, max_held=max_held)

    def search(self, queries: FloatArray, k: int, *, allowed: Ids | None = None) -> tuple[Ids, FloatArray]:
        """Find the nearest ids.

        :param queries: float32 (m, d), unit rows
        :param k: how many
        :param allowed: int64, ascending ids that may be returned; None for all
        :return: int64 (m, at most k) ids, nearest first, -1 where there are no more, and float32 cosines
        """
        parts = []
        if self._snapshot is not None:
            parts.append(self._snapshot.search(queries, k, allowed=allowed))
            if not len(self._recent):
                return parts[0]
        parts.append(self._recent.search(queries, k, allowed=allowed))
        return merged(parts, k)

    def vectors_of(self, ids: Ids) -> FloatArray:
        """Look up vectors by id.

        :param ids: int64 (n,), as a search returned them
        :return: float32 (n, d), unit rows; zeros for an id that is not there
        """
        vectors = np.zeros((len(ids), self._dimension), dtype=np.float32)
        self._recent.fill(ids, vectors)
        if self._snapshot is not None:
            here = is_among(ids, self._snapshot.ids)
            vectors[here] = self._snapshot.vectors[np.searchsorted(self._snapshot.ids, ids[here])]
        return vectors

    def sample(self, size: int) -> FloatArray:
        """Draw vectors of the collection, the same at every call while nothing changes.

        :param size: how many; fewer are returned where there are fewer
        :return: float32 (n, d), unit rows
        """
        parts = list(self._recent.samples(size))
        if self._snapshot is not None:
            rows = len(self._snapshot.ids)
            drawn = np.random.default_rng(SEED).choice(rows, min(size, rows), replace=False)
            parts.append(self._snapshot.vectors[np.sort(drawn)].astype(np.float32))
        joined = np.concatenate(parts) if parts else np.empty((0, self._dimension), np.float32)
        if len(joined) <= size:
            return joined
        drawn = np.random.default_rng(SEED).choice(len(joined), size, replace=False)
        return joined[np.sort(drawn)]
