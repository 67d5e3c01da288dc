"""How far the searches of a proximity graph go: measured with queries whose nearest rows are known.

How hard a query is, the distance to its nearest gate tells beforehand. At a million, of the texts nearest to a gate a
quarter finds 0.998 of its ten nearest with 128 nodes held open, of the farthest 0.88, and those need 768 nodes for
0.99. So the queries are parted by that distance into bands, and each band gets the least effort that finds enough.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from babelclip.neighbours import Ids
from babelclip.proximity_graph import BREADTHS, CANDIDATES, Effort, Efforts, ProximityGraph, Rows
from babelclip.vectors import FloatArray

BORDERS = (0.1, 0.3, 0.5, 0.7, 0.85, 0.95)
"""Quantiles of the texts' distances, where bands begin; pictures are nearer, nearly all in the first."""
FEWEST = 20
"""Queries of a kind in a band that must reach the target for themselves, too."""
GLANCE, HOPELESS = 50, 0.02
"""Queries after which an effort that is so far below the target is given up."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Queries, float32 (m, d) unit rows; and the rows that are nearest to them indeed, int64 (m, k)."""

    queries: FloatArray
    nearest: Ids


def tune(graph: ProximityGraph, pictures: Asked, texts: Sequence[Asked], vectors: Rows, target: float) -> float:
    """Choose the least efforts that find enough of each kind of query.

    :param graph: gets the efforts
    :param pictures: queries that are pictures
    :param texts: queries of kinds of texts; none if no texts can be asked
    :param vectors: float16 (n, d), of all rows
    :param target: recall in 0..1
    :return: the least recall of a band
    """
    kinds = [pictures, *texts]
    distances = [graph.nearness(kind.queries) for kind in kinds]
    borders = np.quantile(np.concatenate(distances[1:] or distances), BORDERS)
    steps: Sequence[Effort] = sorted((Effort(b, c) for b in BREADTHS for c in CANDIDATES if c <= b), key=_cost)
    chosen: list[Effort] = []
    reached = 1.0
    for band in range(len(borders) + 1):
        here = [np.searchsorted(borders, distance, side="right") == band for distance in distances]
        groups = [_some(kind, mask) for kind, mask in zip(kinds, here, strict=True)]
        steps, found = _least(graph, steps, groups, vectors, target)
        chosen.append(steps[0])
        reached = min(reached, found)
    graph.efforts = Efforts(tuple(borders.tolist()), tuple(chosen))
    return reached


def _some(kind: Asked, mask: NDArray[np.bool_]) -> Asked:
    return Asked(kind.queries[mask], kind.nearest[mask])


def _least(
    graph: ProximityGraph, steps: Sequence[Effort], groups: Sequence[Asked], vectors: Rows, target: float
) -> tuple[Sequence[Effort], float]:
    """The steps from the first on that finds enough, or the last alone; and the recall that it reaches."""
    joined = Asked(np.concatenate([group.queries for group in groups]), np.concatenate([g.nearest for g in groups]))
    together = [joined, *(group for group in groups if len(group.queries) >= FEWEST)]
    reached = 1.0
    for i, step in enumerate(steps):
        graph.efforts = Efforts((), (step,))
        reached = min(_recall(graph, asked, vectors, target) for asked in together)
        if reached >= target:
            return steps[i:], reached
    return steps[-1:], reached


def _recall(graph: ProximityGraph, asked: Asked, vectors: Rows, target: float) -> float:
    """Recall of some queries, of fewer where it is far from enough."""
    found: list[float] = []
    for query, nearest in zip(asked.queries, asked.nearest, strict=True):
        rows, _ = graph.search(query, len(nearest), vectors)
        found.append(len(np.intersect1d(rows, nearest)) / max(1, len(nearest)))
        if len(found) == GLANCE and np.mean(found) < target - HOPELESS:
            break
    return float(np.mean(found)) if found else 1.0


def _cost(effort: Effort) -> int:
    """What a search costs, in the time of one open node: a candidate's vector is read from elsewhere, at full width."""
    return effort.breadth + effort.candidates
