"""The vectors of a catalog that are newer than its snapshot, compared exactly.

A bounded number of them is held in memory as float32. The rest, of which there are many only where a large collection
has no graph yet, is read from the catalog by every search, block by block, so that memory stays bounded.
"""

from collections.abc import Iterator
from itertools import islice

import numpy as np

from babelclip.ann.exact import ExactNeighbours, Ids, is_among, merged
from babelclip.catalog.vector_reader import VectorReader
from babelclip.vectors import FloatArray, unit_rows

SEED = 0


class RecentVectors:
    """The vectors with ids above that of a snapshot, as of the last ``read``."""

    def __init__(self, reader: VectorReader, dimension: int, *, after: int, max_held: int) -> None:
        """Begin after a vector; nothing is read yet.

        :param reader: reads the vectors of the catalog
        :param dimension: of its vectors
        :param after: id of the last vector of the snapshot, 0 without one
        :param max_held: vectors that are held in memory
        """
        self._reader = reader
        self._dimension = dimension
        self._max_held = max_held
        self._held_to = self._newest = after
        self._blocks: list[tuple[Ids, FloatArray]] = []
        self._unheld = 0
        self._exact: ExactNeighbours | None = None

    def __len__(self) -> int:
        return self.held + self._unheld

    @property
    def held(self) -> int:
        """The number of vectors that are held in memory."""
        return sum(len(ids) for ids, _ in self._blocks)

    def read(self, newest: int) -> int:
        """Read what was written since.

        :param newest: the id of the newest vector
        :return: the id of the newest vector that was read
        """
        if self._held_to == self._newest:
            for ids, vectors in self._reader.vectors_since(self._held_to):
                if self.held + len(ids) > self._max_held:
                    break
                self._blocks.append((ids, unit_rows(vectors)))
                self._exact = None
                self._held_to = int(ids[-1])
            else:
                self._held_to = max(self._held_to, newest)
        self._newest = max(self._held_to, newest)
        self.recount()
        return self._newest

    def recount(self) -> None:
        """Count the vectors that are not held."""
        # The sign keeps SQLite from reading every vector: an index over their contents holds the ids too.
        query = "SELECT count(*) FROM vectors WHERE +id > ? AND +id <= ?"
        unread = self._newest > self._held_to
        self._unheld = int(self._reader.rows(query, (self._held_to, self._newest))[0][0]) if unread else 0

    def remove(self, removed: Ids) -> None:
        """Drop vectors that were removed from the catalog.

        :param removed: int64, ascending ids
        """
        kept = []
        for ids, vectors in self._blocks:
            stays = ~is_among(ids, removed)
            kept.append((ids[stays], vectors[stays]))
        self._blocks, self._exact = kept, None
        self.recount()

    def search(self, queries: FloatArray, k: int, *, allowed: Ids | None = None) -> tuple[Ids, FloatArray]:
        """Find the nearest ids by comparing with all.

        :param queries: float32 (m, d), unit rows
        :param k: how many
        :param allowed: int64, ascending ids that may be returned; None for all
        :return: int64 (m, at most k) ids, nearest first, -1 where there are no more, and float32 cosines
        """
        best = self._exact_held().search(queries, k, allowed=allowed)
        for ids, vectors in self._unheld_blocks():
            best = merged([best, ExactNeighbours(ids, vectors).search(queries, k, allowed=allowed)], k)
        return best

    def _exact_held(self) -> ExactNeighbours:
        """Join the blocks that are held."""
        if self._exact is None:
            ids = np.concatenate([np.empty(0, np.int64), *(ids for ids, _ in self._blocks)])
            empty = np.empty((0, self._dimension), np.float32)
            vectors = np.concatenate([empty, *(vectors for _, vectors in self._blocks)])
            self._blocks = [(ids, vectors)]
            self._exact = ExactNeighbours(ids, vectors)
        return self._exact

    def _unheld_blocks(self) -> Iterator[tuple[Ids, FloatArray]]:
        """Read the vectors that are not held, from the catalog."""
        if not self._unheld:
            return
        for ids, vectors in self._reader.vectors_since(self._held_to):
            count = int(np.searchsorted(ids, self._newest, side="right"))
            if count:
                yield ids[:count], unit_rows(vectors[:count])
            if count < len(ids):
                return

    def fill(self, ids: Ids, vectors: FloatArray) -> None:
        """Look up vectors by id.

        :param ids: int64 (n,)
        :param vectors: float32 (n, d); the rows of ids that are here are set
        """
        for known, block in self._blocks:
            here = is_among(ids, known)
            vectors[here] = block[np.searchsorted(known, ids[here])]
        if self._unheld:
            for row in np.flatnonzero((ids > self._held_to) & (ids <= self._newest)).tolist():
                identity, vector = self._first_from(int(ids[row]))
                if identity == ids[row]:
                    vectors[row] = vector

    def samples(self, size: int) -> Iterator[FloatArray]:
        """Sample vectors: all that are held, and as many as ``size`` of the others.

        :param size: how many
        :yield: float32 (n, d), unit rows
        """
        for _, vectors in self._blocks:
            yield vectors
        if self._unheld:
            drawn = np.random.default_rng(SEED).integers(self._held_to + 1, self._newest + 1, size)
            first = dict(self._first_from(identity) for identity in np.unique(drawn).tolist())
            drawn_vectors = [vector for identity, vector in first.items() if 0 < identity <= self._newest]
            yield np.array(drawn_vectors, np.float32).reshape(-1, self._dimension)

    def _first_from(self, identity: int) -> tuple[int, FloatArray]:
        """Read the first vector from an id on: its id, 0 if there is none, and float32 (d,), unit."""
        for ids, vectors in islice(self._reader.vectors_since(identity - 1, block=1), 1):
            return int(ids[0]), unit_rows(vectors)[0]
        return 0, np.zeros(self._dimension, np.float32)
