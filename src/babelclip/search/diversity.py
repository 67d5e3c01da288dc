"""Selection among many hits: near-duplicates as groups, and maximal marginal relevance (MMR)."""

import math

import numpy as np
from numpy.typing import NDArray

from babelclip.vectors import FloatArray, cosines_of

DUPLICATE_COSINE = 0.97
"""The lowest cosine of near-duplicates."""
BLOCK_ROWS = 256
"""Rows that are compared with all earlier leaders in one product."""
FEW_ROWS = 32
"""Rows whose gain is updated first when a hit is selected; twice as many next, if needed."""


def group_alike(
    vectors: FloatArray, shown: FloatArray | None = None, limit: float = DUPLICATE_COSINE
) -> list[list[int]]:
    """Group every row with the first earlier leader that it is a near-duplicate of.

    :param vectors: float32 (n, d), unit rows, best hit first
    :param shown: float32 (m, d), unit rows of earlier leaders; their near-duplicates are left out
    :param limit: lowest cosine of near-duplicates
    :return: groups of row numbers in the order of their leaders; the first row of each group is its leader
    """
    before = vectors[:0] if shown is None else shown
    leading = np.concatenate([before, np.empty_like(vectors)])
    groups: list[list[int]] = [[] for _ in before]
    for start in range(0, len(vectors), BLOCK_ROWS):
        block = vectors[start : start + BLOCK_ROWS]
        likeness = block @ leading[: len(groups)].T >= limit
        inside = block @ block.T >= limit
        heads: list[int] = []
        for i in range(len(block)):
            alike = np.flatnonzero(likeness[i])
            near = alike if len(alike) else np.flatnonzero(inside[i, heads]) + len(likeness[i])
            if len(near):
                groups[int(near[0])].append(start + i)
            else:
                leading[len(groups)] = block[i]
                groups.append([start + i])
                heads.append(i)
    return groups[len(before) :]


def diverse_order(
    scores: FloatArray, vectors: FloatArray, diversity: float, count: int, shown: FloatArray | None = None
) -> list[int]:
    """Order hits by maximal marginal relevance (Carbonell & Goldstein 1998).

    Scores and similarities are divided by their own standard deviations, because the cosines of a text with images vary
    less than those of images.

    :param scores: float32 (n,)
    :param vectors: float32 (n, d), unit rows
    :param diversity: 0 keeps the order of scores, 1 considers similarity alone
    :param count: how many are wanted
    :param shown: float32 (m, d), unit rows of the hits of earlier pages
    :return: that many row numbers, or as many as there are
    """
    if not len(scores):
        return []
    relevance = (scores - scores.mean()) / max(float(scores.std()), 1e-6)
    wanted = min(count, len(scores))
    candidates = _Candidates(relevance, vectors, diversity, vectors[:0] if shown is None else shown, wanted)
    return [candidates.select() for _ in range(wanted)]


class _Candidates:
    """Rows to select from, and an upper bound of the gain of each.

    A gain only decreases as more is shown. The gain of a row when it was last compared is therefore a bound, and only
    rows whose bound may be the highest are compared with what was shown since (accelerated greedy, Minoux 1978).
    """

    def __init__(
        self, relevance: FloatArray, vectors: FloatArray, diversity: float, shown: FloatArray, wanted: int
    ) -> None:
        self._relevance = (1 - diversity) * relevance
        self._vectors = vectors
        self._diversity = diversity
        self._mean, self._deviation = _likeness(vectors)
        self._shown = np.concatenate([shown, np.empty((wanted, vectors.shape[1]), np.float32)])
        self._count = len(shown)
        self._compared = np.zeros(len(vectors), np.int64)
        # Before anything is shown, all rows are equally dissimilar to it.
        self._nearest = np.full(len(vectors), -1, np.float32)
        self._bounds = self._gains(np.arange(len(vectors)))

    def select(self) -> int:
        """Select the row of the highest gain; it counts as shown afterwards."""
        rows, some = np.array([self._bounds.argmax()]), FEW_ROWS
        highest = -np.inf
        while len(rows):
            if len(rows) > some:
                rows = rows[np.argpartition(self._bounds[rows], len(rows) - some)[-some:]]
            self._compare(rows)
            highest = max(highest, float(self._bounds[rows].max()))
            rows, some = np.flatnonzero((self._bounds >= highest) & (self._compared < self._count)), 2 * some
        chosen = int(self._bounds.argmax())
        self._bounds[chosen] = -np.inf
        self._shown[self._count] = self._vectors[chosen]
        self._count += 1
        return chosen

    def _compare(self, rows: NDArray[np.int64]) -> None:
        """Update the bounds of rows."""
        for start in range(0, len(rows), BLOCK_ROWS):
            part = rows[start : start + BLOCK_ROWS]
            since = self._shown[int(self._compared[part].min()) : self._count]
            if len(since):
                self._nearest[part] = np.maximum(
                    self._nearest[part], cosines_of(self._vectors[part], since).max(axis=1)
                )
        self._compared[rows] = self._count
        self._bounds[rows] = self._gains(rows)

    def _gains(self, rows: NDArray[np.int64]) -> FloatArray:
        unlike = (self._nearest[rows] - self._mean) / self._deviation
        gains: FloatArray = (self._relevance[rows] - self._diversity * unlike).astype(np.float32)
        return gains


def _likeness(vectors: FloatArray) -> tuple[float, float]:
    """Compute mean and standard deviation of the cosines of all pairs of rows, without a matrix of all pairs."""
    mean = float((vectors.mean(axis=0, dtype=np.float64) ** 2).sum())
    products = vectors @ vectors.T if len(vectors) < vectors.shape[1] else vectors.T @ vectors
    square = float((products.astype(np.float64) ** 2).sum()) / len(vectors) ** 2
    return mean, max(math.sqrt(max(square - mean**2, 0.0)), 1e-6)
