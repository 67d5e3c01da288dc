from typing import Any

import faiss as typed_faiss
import numpy as np
import pytest

from babelclip.ann.hnsw import Effort, EffortBands, HnswGraph, ground_truth
from babelclip.vectors import FloatArray
from tests.helpers.clustered import clustered

faiss: Any = typed_faiss


def graph_of(rows: FloatArray) -> HnswGraph:
    graph = HnswGraph.trained(rows)
    graph.add(rows)
    return graph


def cut_links(graph: HnswGraph) -> None:
    """Remove every link, so that a search reaches its start points alone."""
    links = graph.index.hnsw.neighbors
    faiss.rev_swig_ptr(links.data(), links.size())[:] = -1


def test_a_search_starts_from_the_entry_points_nearest_to_the_query(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("babelclip.ann.hnsw.ENTRY_POINT_SHARE", 1.0)
    rows = clustered(1, 3000)
    graph = graph_of(rows)
    cut_links(graph)
    stored, queries = rows.astype(np.float16), clustered(5, 20)
    for query, nearest in zip(queries, ground_truth(queries, 10, [stored]), strict=True):
        assert len(np.intersect1d(graph.search(query, 10, stored)[0], nearest)) >= 9


def test_the_number_of_rescored_candidates_is_that_of_the_band() -> None:
    rows = clustered(1, 3000)
    graph = graph_of(rows)
    queries = rows[100:140]
    middle = float(np.median(graph.entry_distances(queries)))
    graph.bands = EffortBands((middle,), (Effort(64, 30), Effort(64, 60)))
    for query, distance in zip(queries, graph.entry_distances(queries), strict=True):
        assert len(graph.candidates(query, 1)) == (30 if distance < middle else 60)


def test_reordering_nodes_changes_no_result_but_makes_near_ones_adjacent() -> None:
    rows = clustered(1, 3000)
    graph = graph_of(rows)
    stored = rows.astype(np.float16)
    graph.finish()
    assert sorted(graph.rows.tolist()) == list(range(3000))
    nearest = [graph.search(row, 1, stored)[0][0] for row in rows[:100]]
    assert nearest == list(range(100))
    ordered = rows[graph.rows]
    adjacent = (ordered[:-1] * ordered[1:]).sum(axis=1).mean()
    assert adjacent > 2 * (rows[:-1] * rows[1:]).sum(axis=1).mean() + 0.2


def test_codes_are_scanned_where_a_graph_search_would_take_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("babelclip.ann.hnsw.NODE_COST", 60)
    rows = clustered(1, 3000)
    graph = graph_of(rows)
    stored = rows.astype(np.float16)
    cut_links(graph)
    graph.bands = EffortBands((), (Effort(32, 30),))
    for k in (1000, 2500):
        nearest, scores = graph.search(rows[0], k, stored)
        assert len(np.intersect1d(nearest, ground_truth(rows[:1], k, [stored])[0])) >= 0.98 * k
        assert (np.diff(scores) <= 0).all()
