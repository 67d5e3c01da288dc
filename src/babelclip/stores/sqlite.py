"""An index file as a store: the catalog holds the vectors, and FAISS finds the nearest."""

from collections.abc import Iterable, Sequence

import numpy as np

from babelclip.ann.exact import Ids
from babelclip.catalog.catalog import Catalog
from babelclip.catalog.records import ContentRecord, Photo
from babelclip.catalog.vector_reader import FINDABLE
from babelclip.pipeline import chunks
from babelclip.query.filters import read_filter
from babelclip.stores.base import Match, QuerySource, StoreProgress, StoreRecord, no_queries
from babelclip.stores.sqlite_ann import CatalogNeighbours
from babelclip.stores.sqlite_filters import NO_CONDITION, SqlCondition, compile_filter
from babelclip.vectors import FloatArray

LOCATIONS_PER_QUERY = 10_000


class SqliteStore:
    """A catalog and its neighbours."""

    def __init__(self, catalog: Catalog, dimension: int) -> None:
        """Take an open catalog; nothing is read yet.

        :param catalog: the catalog
        :param dimension: of its vectors
        """
        self.catalog = catalog
        self._neighbours = CatalogNeighbours(catalog.vectors, dimension)

    def __len__(self) -> int:
        return self.catalog.vectors.count()

    def refresh(self) -> object:
        """Refresh as Store.refresh; the cursor stands for the state."""
        self._neighbours.refresh()
        return self._neighbours.cursor

    def maintain(self, queries: QuerySource = no_queries, progress: StoreProgress | None = None) -> bool:
        """Maintain as Store.maintain: the graph beside the file."""
        return self._neighbours.maintain(queries, progress)

    def find(self, vector: FloatArray, count: int, *, where: str | None = None) -> list[Match]:
        """Find as Store.find; more than count are returned where the last photo has copies."""
        condition = NO_CONDITION if where is None else compile_filter(read_filter(where))
        allowed = None if where is None else self._allowed(condition)
        total = len(self._neighbours) if allowed is None else len(allowed)
        depth = min(count, total)
        while depth:
            ids, scores = self._neighbours.search(vector[None], depth, allowed=allowed)
            matches = self._located(ids[0], scores[0], condition)
            if len(matches) >= count or depth >= total:
                return matches
            depth = min(2 * depth, total)
        return []

    def _allowed(self, condition: SqlCondition) -> Ids:
        """List the vectors that a filter allows: int64 (n,), ascending."""
        # SQLite takes twice the time when it sorts them itself.
        query = f"SELECT vectors.id FROM {FINDABLE} WHERE {condition.sql}"
        rows = self.catalog.vectors.rows(query, condition.parameters)
        return np.unique(np.fromiter((row[0] for row in rows), dtype=np.int64, count=len(rows)))

    def _located(self, ids: Ids, scores: FloatArray, condition: SqlCondition) -> list[Match]:
        """Look up the files of vectors that a filter allows; each file is returned once."""
        score_of = {int(number): float(score) for number, score in zip(ids, scores, strict=True) if number >= 0}
        matches = []
        for some in chunks(score_of, LOCATIONS_PER_QUERY):
            for locations in self.catalog.vectors.locations(some, condition.sql, condition.parameters).values():
                matches += [
                    Match(location.vector, location.path, score_of[location.vector], location.at_ms)
                    for location in locations
                ]
        best: dict[str, Match] = {}
        for match in sorted(matches, key=lambda match: (-match.score, match.path)):
            best.setdefault(match.path, match)
        return list(best.values())

    def nearest(self, vectors: FloatArray, count: int) -> tuple[FloatArray, FloatArray]:
        """Find as Store.nearest."""
        queries, dimension = vectors.shape
        scores, rows = np.zeros((queries, count), np.float32), np.zeros((queries, count, dimension), np.float32)
        if len(self._neighbours):
            ids, cosines = self._neighbours.search(vectors, count)
            distinct, positions = np.unique(ids, return_inverse=True)
            rows[:, : ids.shape[1]] = self._neighbours.vectors_of(distinct)[positions.reshape(ids.shape)]
            scores[:, : ids.shape[1]] = np.where(ids >= 0, cosines, 0)
        return scores, rows

    def vectors_of(self, ids: Sequence[int]) -> FloatArray:
        """Look up as Store.vectors_of."""
        return self._neighbours.vectors_of(np.array(ids, dtype=np.int64))

    def sample(self, size: int) -> FloatArray:
        """Draw as Store.sample."""
        return self._neighbours.sample(size)

    def failures(self) -> list[tuple[str, str]]:
        """List as Store.failures."""
        return self.catalog.photos.failures()

    def add(self, records: Sequence[StoreRecord]) -> None:
        """Add as Store.add, in one transaction."""
        photos = [Photo(record.path, record.size, record.mtime_ns, record.hash) for record in records]
        contents = {record.hash: ContentRecord(record.hash, record.vector, metadata=record.facts) for record in records}
        self.catalog.save(photos, contents.values())

    def delete(self, paths: Iterable[str]) -> None:
        """Delete as Store.delete."""
        self.catalog.forget(paths)

    def close(self) -> None:
        """Close as Store.close."""
        self.catalog.close()
