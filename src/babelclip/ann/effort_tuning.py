"""Effort tuning of an HNSW graph: the cheapest ``ef_search`` that reaches the target recall on tuning queries.

The entry distance predicts how hard a query is. At a million vectors, the quarter of the texts nearest to an entry
point has recall@10 0.998 with an ef_search of 128, the farthest quarter 0.88, and those need 768 for 0.99. Queries are
therefore divided by entry distance into bands, and each band gets an effort: the combination of least cost with which
every kind of query reaches the target. At the optimum, recall has the same marginal cost in every band (Everett 1963),
so that one Lagrange multiplier determines the efforts of all bands, and it is raised until the target is reached.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from babelclip.ann.exact import Ids
from babelclip.ann.hnsw import PARAMETER_GRID, EffortBands, HnswGraph, VectorSource
from babelclip.vectors import FloatArray

BORDER_QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.85, 0.95)
"""Quantiles of the texts' entry distances at which bands begin; nearly all images are in the first band."""
MULTIPLIERS = np.geomspace(100, 1e6, 1000)
"""Cost (ef_search and candidates) that full recall of one query is worth; the least sufficient one is taken."""


@dataclass(frozen=True, slots=True)
class TuningQueries:
    """Queries of one kind, float32 (m, d) unit rows, and their ground truth, int64 (m, k) rows."""

    queries: FloatArray
    truth: Ids


def tune(
    graph: HnswGraph, images: TuningQueries, texts: Sequence[TuningQueries], vectors: VectorSource, target: float
) -> float:
    """Choose the cheapest efforts with which every kind of query reaches the target recall.

    Without texts, queries that are farther from the entry points than every image get the highest effort.

    :param graph: gets the effort bands
    :param images: queries that are images
    :param texts: queries of each kind of text; empty if there are none
    :param vectors: float16 (n, d), of all rows
    :param target: recall in 0..1
    :return: the recall of the kind with the lowest recall
    """
    kinds = [images, *texts]
    distances = [graph.entry_distances(kind.queries) for kind in kinds]
    borders = np.quantile(np.concatenate(distances[1:] or distances), BORDER_QUANTILES)
    bands = [np.searchsorted(borders, distance, side="right") for distance in distances]
    recalls = [_recalls(graph, kind, vectors) for kind in kinds]
    gains = np.stack([_band_recall(recalls, bands, band) for band in range(len(borders) + 1)])
    costs = np.array([effort.ef_search + effort.candidates for effort in PARAMETER_GRID])
    for multiplier in MULTIPLIERS:
        chosen = np.maximum.accumulate((multiplier * gains - costs).argmax(axis=1))
        reached = min(
            float(recall[np.arange(len(band)), chosen[band]].mean())
            for recall, band in zip(recalls, bands, strict=True)
        )
        if reached >= target:
            break
    efforts = tuple(PARAMETER_GRID[number] for number in chosen)
    if texts:
        graph.bands = EffortBands(tuple(borders.tolist()), efforts)
    else:
        farthest = float(distances[0].max())
        graph.bands = EffortBands((*borders.tolist(), farthest), (*efforts, PARAMETER_GRID[-1]))
    return reached


def _recalls(graph: HnswGraph, kind: TuningQueries, vectors: VectorSource) -> FloatArray:
    """Measure the recall of each query with each effort of the grid: float32 (m, efforts)."""
    recalls = np.zeros((len(kind.queries), len(PARAMETER_GRID)), dtype=np.float32)
    for column, effort in enumerate(PARAMETER_GRID):
        graph.bands = EffortBands((), (effort,))
        for row, (query, nearest) in enumerate(zip(kind.queries, kind.truth, strict=True)):
            rows, _ = graph.search(query, len(nearest), vectors)
            recalls[row, column] = len(np.intersect1d(rows, nearest)) / max(1, len(nearest))
    return recalls


def _band_recall(recalls: Sequence[FloatArray], bands: Sequence[Ids], band: int) -> FloatArray:
    """Compute the mean recall of a band with each effort of the grid: float32 (efforts,)."""
    members = np.concatenate([recall[number == band] for recall, number in zip(recalls, bands, strict=True)])
    mean: FloatArray = members.mean(axis=0) if len(members) else np.zeros(len(PARAMETER_GRID), dtype=np.float32)
    return mean
