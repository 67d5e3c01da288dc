"""Pages of the matches of a store, which share no photo and lose none."""

from collections.abc import Sequence

import numpy as np

from babelclip.search.confidence import NEAREST
from babelclip.search.options import CANDIDATES_PER_HIT
from babelclip.search.rerank import RerankOptions
from babelclip.stores import Match, Store
from babelclip.vectors import FloatArray


class Pages:
    """The pages of one query."""

    def __init__(self, store: Store, query: FloatArray, *, k: int, where: str | None, rerank: RerankOptions) -> None:
        """Take a query.

        :param store: as of its last ``refresh``
        :param query: float32 (d,), unit
        :param k: hits a page
        :param where: a filter
        :param rerank: how hits are selected among candidates
        """
        self._store = store
        self._query = query
        self._k = k
        self._where = where
        self._rerank = rerank

    def page(self, page: int) -> tuple[list[list[Match]], list[Match]]:
        """Find the hits of one page.

        Candidates are searched for again for pages 1, 2, 3-4, 5-8 and so on, and what an earlier page shows is left
        out, because the results of approximate search depend on how many are asked for.

        :param page: its number, from 1
        :return: the hits, each with its near-duplicates; and the nearest matches, at least ``confidence.NEAREST`` of
            them if there are as many
        """
        before: list[Match] = []
        nearest: list[Match] = []
        last = 0
        while True:
            first, last = last, max(1, 2 * last)
            count = max(last * self._k * (CANDIDATES_PER_HIT if self._rerank.needed else 1), NEAREST)
            matches = self._store.find(self._query, count, where=self._where)
            nearest = nearest or matches
            selected = self._select(matches, before, (min(last, page) - first) * self._k)
            if page <= last:
                return selected[(page - 1 - first) * self._k :][: self._k], nearest
            before += [group[0] for group in selected]

    def _select(self, matches: list[Match], before: list[Match], count: int) -> list[list[Match]]:
        """Select among candidates, each with its near-duplicates; their scores stay cosines."""
        shown = {match.path for match in before}
        matches = [match for match in matches if match.path not in shown]
        if not matches or not self._rerank.needed:
            return [[match] for match in matches[:count]]
        scores = np.array([match.score for match in matches], dtype=np.float32)
        groups = self._rerank.groups(scores, self._vectors_of(matches), self._vectors_of(before), count)
        return [[matches[i] for i in group] for group in groups]

    def _vectors_of(self, matches: Sequence[Match]) -> FloatArray:
        return self._store.vectors_of([match.vector for match in matches])
