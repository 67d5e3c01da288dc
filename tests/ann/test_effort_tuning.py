import numpy as np
import pytest

from babelclip.ann.effort_tuning import TuningQueries, tune
from babelclip.ann.hnsw import PARAMETER_GRID, HnswGraph, ground_truth
from babelclip.vectors import FloatArray, unit_rows
from tests.helpers.clustered import DIMENSION, clustered

ROWS = clustered(1, 3000)
STORED = ROWS.astype(np.float16)
SCATTERED = unit_rows(np.random.default_rng(3).standard_normal((200, DIMENSION)).astype(np.float32))
"""Queries that are far from all rows, as texts are."""


@pytest.fixture(scope="module")
def graph() -> HnswGraph:
    made = HnswGraph.trained(ROWS)
    made.add(ROWS)
    made.finish()
    return made


def tuning(queries: FloatArray) -> TuningQueries:
    return TuningQueries(queries, ground_truth(queries, 10, [STORED]))


def test_effort_grows_with_entry_distance_and_each_band_reaches_the_target(graph: HnswGraph) -> None:
    texts = tuning(SCATTERED)
    reached = tune(graph, tuning(ROWS[:100]), [texts], STORED, 0.98)
    costs = [effort.ef_search + effort.candidates for effort in graph.bands.efforts]
    assert reached >= 0.98
    assert costs == sorted(costs)
    assert costs[0] < costs[-1]
    band = np.searchsorted(graph.bands.borders, graph.entry_distances(SCATTERED), side="right")
    for number, effort in enumerate(graph.bands.efforts):
        members = SCATTERED[band == number]
        assert len(members) >= 10
        assert {graph.bands.at(distance) for distance in graph.entry_distances(members)} == {effort}
    hits = [
        len(np.intersect1d(graph.search(query, 10, STORED)[0], nearest))
        for query, nearest in zip(SCATTERED, texts.truth, strict=True)
    ]
    assert np.mean(hits) >= 9.8
    of_images = [graph.bands.at(distance) for distance in graph.entry_distances(ROWS[100:400])]
    assert np.mean([effort == graph.bands.efforts[0] for effort in of_images]) > 0.8


def test_without_texts_queries_beyond_all_images_get_the_highest_effort(graph: HnswGraph) -> None:
    assert tune(graph, tuning(ROWS[:100]), [], STORED, 0.98) >= 0.98
    farthest = float(graph.entry_distances(ROWS[:100]).max())
    assert graph.bands.at(farthest - 1e-3) != PARAMETER_GRID[-1]
    assert graph.bands.at(farthest) == PARAMETER_GRID[-1]
