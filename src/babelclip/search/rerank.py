"""Which candidates of a search are shown: hubs set right, near-duplicates as one, and not ten of the same kind."""

from dataclasses import dataclass

import numpy as np

from babelclip.search.confidence import HUB_SHARPNESS, hubness
from babelclip.search.diversity import diverse_order, group_alike
from babelclip.vectors import FloatArray


@dataclass(frozen=True, slots=True)
class Choice:
    """How hits are chosen among candidates; ``crowd`` is float32 (m, d), unit rows of other queries."""

    grouped: bool
    diversity: float
    crowd: FloatArray | None

    @property
    def needed(self) -> bool:
        """Whether there is anything to choose; else the nearest are shown."""
        return self.grouped or self.diversity > 0 or self.crowd is not None

    def groups(self, scores: FloatArray, vectors: FloatArray, shown: FloatArray, count: int) -> list[list[int]]:
        """The candidates that are shown.

        :param scores: float32 (n,), cosines with the query, the highest first
        :param vectors: float32 (n, d), unit rows
        :param shown: float32 (m, d), unit rows of hits that come before them
        :param count: how many are wanted
        :return: up to that many groups of row numbers, the best first; the first of each leads its near-duplicates
        """
        order = list(range(len(scores)))
        if self.crowd is not None:
            scores = HUB_SHARPNESS * scores - hubness(vectors, self.crowd)
            order = np.argsort(-scores, kind="stable").tolist()
        groups = [[i] for i in order]
        if self.grouped:
            groups = [[order[i] for i in group] for group in group_alike(vectors[order], shown)]
        if self.diversity:
            leaders = [group[0] for group in groups]
            groups = [groups[i] for i in diverse_order(scores[leaders], vectors[leaders], self.diversity, count, shown)]
        return groups[:count]
