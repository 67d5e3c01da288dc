"""How far the searches of a proximity graph go: measured with queries whose nearest rows are known.

How hard a query is, the distance to its nearest gate tells beforehand. At a million, of the texts nearest to a gate a
quarter finds 0.998 of its ten nearest with 128 nodes held open, of the farthest 0.88, and those need 768 nodes for
0.99. So queries are parted by that distance into bands, and every band gets an effort: those that together cost least
while each kind of query finds enough. At the least cost a further node finds as much in every band (Everett 1963), so
one price of what is found settles them all, and it is raised until that is enough.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from babelclip.ann.exact import Ids
from babelclip.ann.hnsw import LADDER, Efforts, ProximityGraph, Rows
from babelclip.vectors import FloatArray

BORDERS = (0.1, 0.3, 0.5, 0.7, 0.85, 0.95)
"""Quantiles of the texts' distances, where bands begin; pictures are nearer, nearly all in the first."""
PRICES = np.geomspace(100, 1e6, 1000)
"""Open nodes that are worth it to find what is nearest to one query, of which the least is taken that does."""


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
    :return: the least recall of a kind
    """
    kinds = [pictures, *texts]
    distances = [graph.nearness(kind.queries) for kind in kinds]
    borders = np.quantile(np.concatenate(distances[1:] or distances), BORDERS)
    bands = [np.searchsorted(borders, distance, side="right") for distance in distances]
    recalls = [_recalls(graph, kind, vectors) for kind in kinds]
    gains = np.stack([_of_band(recalls, bands, band) for band in range(len(borders) + 1)])
    costs = np.array([effort.breadth + effort.candidates for effort in LADDER])
    for price in PRICES:
        steps = np.maximum.accumulate((price * gains - costs).argmax(axis=1))
        reached = min(
            float(found[np.arange(len(band)), steps[band]].mean()) for found, band in zip(recalls, bands, strict=True)
        )
        if reached >= target:
            break
    graph.efforts = Efforts(tuple(borders.tolist()), tuple(LADDER[step] for step in steps))
    return reached


def _recalls(graph: ProximityGraph, asked: Asked, vectors: Rows) -> FloatArray:
    """What each query finds with each effort: float32 (m, efforts)."""
    found = np.zeros((len(asked.queries), len(LADDER)), dtype=np.float32)
    for column, effort in enumerate(LADDER):
        graph.efforts = Efforts((), (effort,))
        for row, (query, nearest) in enumerate(zip(asked.queries, asked.nearest, strict=True)):
            rows, _ = graph.search(query, len(nearest), vectors)
            found[row, column] = len(np.intersect1d(rows, nearest)) / max(1, len(nearest))
    return found


def _of_band(recalls: Sequence[FloatArray], bands: Sequence[Ids], band: int) -> FloatArray:
    """The mean recall of a band with each effort: float32 (efforts,)."""
    here = np.concatenate([found[number == band] for found, number in zip(recalls, bands, strict=True)])
    mean: FloatArray = here.mean(axis=0) if len(here) else np.zeros(len(LADDER), dtype=np.float32)
    return mean
