"""An index file as a store: the catalog is the truth, and FAISS finds the nearest."""

from collections.abc import Iterable, Sequence

import numpy as np

from babelclip.ann.exact import Ids
from babelclip.catalog.catalog import Catalog, Content, Photo
from babelclip.catalog.vector_reader import FINDABLE
from babelclip.pipeline import chunks
from babelclip.query.filters import read_filter
from babelclip.stores.base import Match, QuerySource, StoreProgress, StoreRecord, no_queries
from babelclip.stores.sqlite_ann import CatalogNeighbours
from babelclip.stores.sqlite_filters import NO_CONDITION, SqlCondition, compile_filter
from babelclip.vectors import FloatArray

PLACES_AT_ONCE = 10_000


class SqliteStore:
    """A catalog and its neighbours."""

    def __init__(self, catalog: Catalog, dimension: int) -> None:
        """Take an open catalog; nothing is read yet.

        :param catalog: the catalog
        :param dimension: of its vectors
        """
        self.catalog = catalog
        self._neighbours = CatalogNeighbours(catalog, dimension)

    def __len__(self) -> int:
        return self.catalog.count()

    def refresh(self) -> object:
        """Refresh as Store.refresh; the cursor stands for the state."""
        self._neighbours.refresh()
        return self._neighbours.cursor

    def maintain(self, queries: QuerySource = no_queries, progress: StoreProgress | None = None) -> bool:
        """Maintain as Store.maintain: the graph beside the file."""
        return self._neighbours.maintain(queries, progress)

    def find(self, vector: FloatArray, count: int, *, where: str | None = None) -> list[Match]:
        """As Store.find; more than count come where the last vector has copies."""
        condition = NO_CONDITION if where is None else compile_filter(read_filter(where))
        allowed = None if where is None else self._allowed(condition)
        total = len(self._neighbours) if allowed is None else len(allowed)
        depth = min(count, total)
        while depth:
            ids, scores = self._neighbours.search(vector[None], depth, allowed=allowed)
            found = self._placed(ids[0], scores[0], condition)
            if len(found) >= count or depth >= total:
                return found
            depth = min(2 * depth, total)
        return []

    def _allowed(self, condition: SqlCondition) -> Ids:
        """The vectors that a filter lets through, growing."""
        # SQLite takes twice the time when it puts them in order itself.
        rows = self.catalog.rows(f"SELECT vectors.id FROM {FINDABLE} WHERE {condition.sql}", condition.parameters)
        return np.unique(np.fromiter((row[0] for row in rows), dtype=np.int64, count=len(rows)))

    def _placed(self, ids: Ids, scores: FloatArray, condition: SqlCondition) -> list[Match]:
        """Where vectors are found, among the files that pass a filter; a file comes once."""
        known = {int(one): float(score) for one, score in zip(ids, scores, strict=True) if one >= 0}
        matches = []
        for some in chunks(known, PLACES_AT_ONCE):
            for places in self.catalog.places(some, condition.sql, condition.parameters).values():
                matches += [Match(place.vector, place.path, known[place.vector], place.at_ms) for place in places]
        best: dict[str, Match] = {}
        for match in sorted(matches, key=lambda match: (-match.score, match.path)):
            best.setdefault(match.path, match)
        return list(best.values())

    def nearest(self, vectors: FloatArray, count: int) -> tuple[FloatArray, FloatArray]:
        """As Store.nearest."""
        many, width = vectors.shape
        scores, rows = np.zeros((many, count), np.float32), np.zeros((many, count, width), np.float32)
        if len(self._neighbours):
            ids, found = self._neighbours.search(vectors, count)
            known, places = np.unique(ids, return_inverse=True)
            rows[:, : ids.shape[1]] = self._neighbours.vectors_of(known)[places.reshape(ids.shape)]
            scores[:, : ids.shape[1]] = np.where(ids >= 0, found, 0)
        return scores, rows

    def vectors_of(self, ids: Sequence[int]) -> FloatArray:
        """As Store.vectors_of."""
        return self._neighbours.vectors_of(np.array(ids, dtype=np.int64))

    def sample(self, size: int) -> FloatArray:
        """As Store.sample."""
        return self._neighbours.sample(size)

    def failures(self) -> list[tuple[str, str]]:
        """As Store.failures."""
        return self.catalog.failures()

    def add(self, entries: Sequence[StoreRecord]) -> None:
        """As Store.add, in one transaction."""
        photos = [Photo(entry.path, entry.size, entry.mtime_ns, entry.hash) for entry in entries]
        contents = {entry.hash: Content(entry.hash, entry.vector, facts=entry.facts) for entry in entries}
        self.catalog.save(photos, contents.values())

    def delete(self, paths: Iterable[str]) -> None:
        """As Store.delete."""
        self.catalog.forget(paths)

    def close(self) -> None:
        """As Store.close."""
        self.catalog.close()
