import numpy as np
import pytest

from babelclip.catalog.catalog import Catalog
from babelclip.stores import graph_maintenance
from tests.helpers.clustered import clustered, fill
from tests.helpers.neighbours import NEVER, maintained, reader, recall, texts


@pytest.fixture
def no_building(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes every attempt to build, grow or tune a graph an error."""

    def build(*_: object) -> None:
        raise AssertionError("a graph was built by a reader")

    for name in ("add", "finish", "trained"):
        monkeypatch.setattr(f"babelclip.ann.hnsw.HnswGraph.{name}", build)
    monkeypatch.setattr(graph_maintenance, "tune", build)


def test_a_maintained_graph_finds_what_exact_search_finds(catalog: Catalog) -> None:
    fill(catalog, 0, 4000)
    neighbours, exact = maintained(catalog), reader(catalog, NEVER)
    assert neighbours.manifest is not None
    assert exact.manifest is None
    assert neighbours.manifest.recall >= 0.98
    assert recall(neighbours, exact) >= 0.97
    _, scores = neighbours.search(clustered(0, 4000)[:5], 1)
    assert scores[:, 0] == pytest.approx(1, abs=1e-3)


def test_filtered_search_keeps_its_recall(catalog: Catalog) -> None:
    vectors = fill(catalog, 0, 4000)
    neighbours, exact = maintained(catalog), reader(catalog, NEVER)
    for share in (1.5, 2, 10, 100):
        assert recall(neighbours, exact, allowed=np.arange(1, 4001, share).astype(np.int64)) >= 0.97
    cosines = vectors @ vectors[7]
    for quantile in (0.1, 0.5, 0.9):
        for among in (cosines < np.quantile(cosines, quantile), cosines > np.quantile(cosines, quantile)):
            assert recall(neighbours, exact, allowed=1 + np.flatnonzero(among)) >= 0.97


@pytest.mark.usefixtures("no_building")
def test_a_large_collection_without_a_graph_is_compared_exactly_and_not_held_in_memory(catalog: Catalog) -> None:
    vectors = fill(catalog, 0, 3000)
    catalog.forget([f"/p/0-{i}.jpg" for i in range(10)])
    neighbours, exact = reader(catalog), reader(catalog, NEVER)
    assert (len(neighbours), neighbours.manifest) == (2990, None)
    assert neighbours.held == 0
    for allowed in (None, np.arange(1, 3000, 3)):
        for queries in (clustered(5, 1), clustered(5, 60)):
            ids, scores = neighbours.search(queries, 30, allowed=allowed)
            expected, cosines = exact.search(queries, 30, allowed=allowed)
            np.testing.assert_array_equal(ids, expected)
            np.testing.assert_allclose(scores, cosines, atol=1e-6)
    looked_up = neighbours.vectors_of(np.array([5, 700, 3000, 9999]))
    np.testing.assert_allclose(looked_up[1:3], vectors[[699, 2999]], atol=1e-3)
    assert not looked_up[[0, 3]].any()
    sample = neighbours.sample(200)
    assert sample.shape[0] > 150
    assert np.allclose((sample @ vectors.T).max(axis=1), 1, atol=2e-3)


@pytest.mark.usefixtures("no_building")
def test_what_comes_and_goes_is_followed_without_a_graph(catalog: Catalog) -> None:
    fill(catalog, 0, 2000)
    neighbours = reader(catalog)
    new = fill(catalog, 1, 300)
    catalog.forget([f"/p/0-{i}.jpg" for i in range(50)])
    neighbours.refresh()
    assert len(neighbours) == 2250
    assert neighbours.search(new[:3], 1)[1][:, 0] == pytest.approx(1, abs=1e-3)
    assert neighbours.search(clustered(0, 50), 1)[1].max() < 0.999


def test_a_reader_adopts_what_another_has_built_and_answers_the_same(catalog: Catalog) -> None:
    vectors = fill(catalog, 0, 2000)
    neighbours = reader(catalog)
    before = neighbours.search(vectors[:40], 5)
    assert neighbours.manifest is None
    built = maintained(catalog)
    neighbours.refresh()
    assert neighbours.manifest == built.manifest is not None
    after = neighbours.search(vectors[:40], 5)
    assert np.mean(before[0] == after[0]) > 0.97
    np.testing.assert_allclose(before[1][:, 0], after[1][:, 0], atol=1e-3)


def test_a_reader_adopts_a_graph_that_has_grown(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_maintenance, "MIN_RECENT", 100)
    fill(catalog, 0, 2000)
    maintained(catalog)
    neighbours = reader(catalog)
    fill(catalog, 1, 300)
    neighbours.refresh()
    assert (neighbours.manifest and neighbours.manifest.rows, len(neighbours)) == (2000, 2300)
    maintained(catalog)
    neighbours.refresh()
    assert (neighbours.manifest and neighbours.manifest.rows, len(neighbours)) == (2300, 2300)
    assert recall(neighbours, reader(catalog, NEVER)) >= 0.96


def test_a_snapshot_is_opened_again_and_additions_and_removals_are_followed(catalog: Catalog) -> None:
    old = fill(catalog, 0, 2000)
    first = maintained(catalog)
    new = fill(catalog, 1, 300)
    removed, _ = first.search(old[:50], 1)
    catalog.forget([f"/p/0-{i}.jpg" for i in range(50)])
    first.refresh()
    again = reader(catalog)
    assert again.manifest == first.manifest is not None
    for neighbours in (first, again):
        assert len(neighbours) == 2250
        for allowed in (None, np.arange(1, 2301), removed[:, 0]):
            assert not np.isin(neighbours.search(old[:50], 10, allowed=allowed)[0], removed).any()
        assert recall(neighbours, reader(catalog, NEVER)) >= 0.97
        ids, scores = neighbours.search(new[:3], 1)
        assert scores[:, 0] == pytest.approx(1, abs=1e-3)
        np.testing.assert_allclose(neighbours.vectors_of(ids[:, 0]), new[:3], atol=1e-3)


def test_a_damaged_snapshot_is_not_adopted(catalog: Catalog) -> None:
    vectors = fill(catalog, 0, 2000)
    manifest = maintained(catalog).manifest
    assert manifest is not None
    (graph_maintenance.snapshot_folder(catalog.vectors) / manifest.name / "rows.npy").write_bytes(b"")
    neighbours = reader(catalog)
    assert neighbours.manifest is None
    assert neighbours.search(vectors[:5], 1)[0][:, 0].tolist() == [1, 2, 3, 4, 5]


def test_a_graph_that_was_built_without_texts_is_tuned_with_them_later(catalog: Catalog) -> None:
    fill(catalog, 0, 2000)
    neighbours = reader(catalog)
    assert neighbours.maintain()
    neighbours.refresh()
    built = neighbours.manifest
    assert built is not None
    assert not built.text_tuned
    assert not neighbours.maintain()
    assert neighbours.maintain(texts)
    neighbours.refresh()
    tuned = neighbours.manifest
    assert tuned is not None
    assert tuned.text_tuned
    assert (tuned.name, tuned.bands != built.bands) == (built.name, True)
    assert not neighbours.maintain(texts)
