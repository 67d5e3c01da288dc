"""Which of many hits to show: near-duplicates together, and not ten of the same kind."""

import math

import numpy as np

from babelclip.vectors import FloatArray

DUPLICATE_COSINE = 0.97
"""Two pictures from this cosine on are shown as one."""
ROWS_AT_ONCE = 256
"""Compared with all leaders before them in one product."""


def group_alike(
    vectors: FloatArray, shown: FloatArray | None = None, limit: float = DUPLICATE_COSINE
) -> list[list[int]]:
    """Put every row with the first earlier leader that it is nearly the same as.

    :param vectors: float32 (n, d), unit rows, best hit first
    :param shown: float32 (m, d), unit rows that lead before them; what they lead is left out
    :param limit: cosine from which two are nearly the same
    :return: groups of row numbers; the first of each leads it, and groups are in the order of their leaders
    """
    before = vectors[:0] if shown is None else shown
    leading = np.concatenate([before, np.empty_like(vectors)])
    groups: list[list[int]] = [[] for _ in before]
    for start in range(0, len(vectors), ROWS_AT_ONCE):
        block = vectors[start : start + ROWS_AT_ONCE]
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
    """Maximal marginal relevance (Carbonell & Goldstein 1998): each next hit fits, and is unlike those before it.

    Scores and likenesses are measured in their own deviations, since texts and images are further apart than images.

    :param scores: float32 (n,)
    :param vectors: float32 (n, d), unit rows
    :param diversity: 0 keeps the order of scores, 1 looks at likeness alone
    :param count: how many are wanted
    :param shown: float32 (m, d), unit rows of hits that come before them
    :return: that many row numbers, or as many as there are
    """
    if not len(scores):
        return []
    mean, deviation = _likeness(vectors)
    relevance = (scores - scores.mean()) / max(float(scores.std()), 1e-6)
    before = vectors[:0] if shown is None else shown
    nearest = np.full(len(scores), -np.inf, np.float32)
    for start in range(0, len(before), ROWS_AT_ONCE):
        nearest = np.maximum(nearest, (vectors @ before[start : start + ROWS_AT_ONCE].T).max(axis=1))
    left = np.ones(len(scores), dtype=np.bool_)
    order: list[int] = []
    for _ in range(min(count, len(scores))):
        # Before anything is shown all are equally new.
        unlike = 0.0 if np.isneginf(nearest[0]) else (nearest - mean) / deviation
        gain = np.where(left, (1 - diversity) * relevance - diversity * unlike, -np.inf)
        chosen = int(np.argmax(gain))
        order.append(chosen)
        left[chosen] = False
        nearest = np.maximum(nearest, vectors @ vectors[chosen])
    return order


def _likeness(vectors: FloatArray) -> tuple[float, float]:
    """Mean and deviation of the cosines of all rows with all, from sums that are small where the rows are many."""
    mean = float((vectors.mean(axis=0, dtype=np.float64) ** 2).sum())
    products = vectors @ vectors.T if len(vectors) < vectors.shape[1] else vectors.T @ vectors
    square = float((products.astype(np.float64) ** 2).sum()) / len(vectors) ** 2
    return mean, max(math.sqrt(max(square - mean**2, 0.0)), 1e-6)
