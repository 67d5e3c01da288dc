"""Which of many hits to show: near-duplicates together, and not ten of the same kind."""

import numpy as np

from babelclip.vectors import FloatArray

DUPLICATE_COSINE = 0.97
"""Two pictures from this cosine on are shown as one."""


def group_alike(vectors: FloatArray, limit: float = DUPLICATE_COSINE) -> list[list[int]]:
    """Put every row with the first earlier leader that it is nearly the same as.

    :param vectors: float32 (n, d), unit rows, best hit first
    :param limit: cosine from which two are nearly the same
    :return: groups of row numbers; the first of each leads it, and groups are in the order of their leaders
    """
    groups: list[list[int]] = []
    leaders = np.empty((0, vectors.shape[1]), dtype=np.float32)
    for i, row in enumerate(vectors):
        alike = np.flatnonzero(leaders @ row >= limit)
        if len(alike):
            groups[int(alike[0])].append(i)
        else:
            groups.append([i])
            leaders = np.concatenate([leaders, row[None]])
    return groups


def diverse_order(scores: FloatArray, vectors: FloatArray, diversity: float) -> list[int]:
    """Maximal marginal relevance (Carbonell & Goldstein 1998): each next hit fits, and is unlike those before it.

    Scores and likenesses are measured in their own deviations, since texts and images are further apart than images.

    :param scores: float32 (n,)
    :param vectors: float32 (n, d), unit rows
    :param diversity: 0 keeps the order of scores, 1 looks at likeness alone
    :return: row numbers, all of them
    """
    likeness = vectors @ vectors.T
    relevance = (scores - scores.mean()) / max(float(scores.std()), 1e-6)
    likeness = (likeness - likeness.mean()) / max(float(likeness.std()), 1e-6)
    nearest = np.full(len(scores), likeness.min() if len(scores) else 0.0)
    left = np.ones(len(scores), dtype=np.bool_)
    order: list[int] = []
    for _ in range(len(scores)):
        gain = np.where(left, (1 - diversity) * relevance - diversity * nearest, -np.inf)
        chosen = int(np.argmax(gain))
        order.append(chosen)
        left[chosen] = False
        nearest = np.maximum(nearest, likeness[chosen])
    return order
