"""Reranking of candidates: hubness correction, grouping of near-duplicates, diversity."""

from dataclasses import dataclass

import numpy as np

from babelclip.search.confidence import HUB_SHARPNESS, hubness
from babelclip.search.diversity import diverse_order, group_alike
from babelclip.vectors import FloatArray


@dataclass(frozen=True, slots=True)
class RerankOptions:
    """How hits are selected among candidates; ``query_bank`` is float32 (m, d), unit rows of other queries."""

    grouped: bool
    diversity: float
    query_bank: FloatArray | None

    @property
    def needed(self) -> bool:
        """Whether anything is reranked; else the nearest are shown."""
        return self.grouped or self.diversity > 0 or self.query_bank is not None

    def groups(self, scores: FloatArray, vectors: FloatArray, shown: FloatArray, count: int) -> list[list[int]]:
        """Select the candidates that are shown.

        :param scores: float32 (n,), cosines with the query, the highest first
        :param vectors: float32 (n, d), unit rows
        :param shown: float32 (m, d), unit rows of the hits of earlier pages
        :param count: how many are wanted
        :return: at most that many groups of row numbers, the best first; the first of each leads its near-duplicates
        """
        order = list(range(len(scores)))
        if self.query_bank is not None:
            scores = HUB_SHARPNESS * scores - hubness(vectors, self.query_bank)
            order = np.argsort(-scores, kind="stable").tolist()
        groups = [[i] for i in order]
        if self.grouped:
            groups = [[order[i] for i in group] for group in group_alike(vectors[order], shown)]
        if self.diversity:
            leaders = [group[0] for group in groups]
            groups = [groups[i] for i in diverse_order(scores[leaders], vectors[leaders], self.diversity, count, shown)]
        return groups[:count]
