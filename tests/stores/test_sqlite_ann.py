from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from babelclip.ann.effort_tuning import Asked, tune
from babelclip.ann.exact import MANY, ExactNeighbours, is_among, merged
from babelclip.ann.hnsw import Effort, Efforts, ProximityGraph, exact_nearest, faiss
from babelclip.ann.hnsw_links import GraphLinks
from babelclip.ann.hnsw_memory import CACHE_LINE, index_to_grow, index_to_search
from babelclip.ann.vector_file import VectorFile
from babelclip.catalog.catalog import Catalog, Content, Photo
from babelclip.stores import sqlite_ann
from babelclip.stores.sqlite_ann import CatalogNeighbours
from babelclip.vectors import FloatArray, unit_rows

DIMENSION = 32


def clustered(seed: int, n: int) -> FloatArray:
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((40, DIMENSION))
    return unit_rows((centres[rng.integers(0, 40, n)] + 0.4 * rng.standard_normal((n, DIMENSION))).astype(np.float32))


def name(seed: int, i: int) -> bytes:
    return f"{seed}-{i}".encode().ljust(32, b".")


def fill(catalog: Catalog, seed: int, n: int) -> FloatArray:
    vectors = clustered(seed, n)
    catalog.save(
        [Photo(f"/p/{seed}-{i}.jpg", 1, 1, name(seed, i)) for i in range(n)],
        [Content(name(seed, i), vector) for i, vector in enumerate(vectors)],
    )
    return vectors


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog(tmp_path / "p.bc", model_name="m", fingerprint="f" * 64, dimension=DIMENSION)
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def walks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a graph be walked that is so small that comparing with all would be faster."""
    monkeypatch.setattr("babelclip.ann.hnsw.NODE_COST", 0)


def follower(catalog: Catalog, exact_up_to: int = 1000) -> CatalogNeighbours:
    made = CatalogNeighbours(catalog, DIMENSION, lambda: [clustered(7, 100)], exact_up_to=exact_up_to)
    made.follow()
    return made


def recall(neighbours: CatalogNeighbours, exact: CatalogNeighbours, **options: np.ndarray) -> float:
    queries = clustered(5, 60)
    found, _ = neighbours.search(queries, 10, **options)
    true, _ = exact.search(queries, 10, **options)
    return float(np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found, true, strict=True)]))


def test_exact_neighbours_are_the_largest_cosines() -> None:
    vectors = clustered(0, 100)
    ids = np.arange(100) * 3 + 5
    found, scores = ExactNeighbours(ids, vectors).search(vectors[:4], 5)
    np.testing.assert_array_equal(found, ids[np.argsort(-(vectors[:4] @ vectors.T), axis=1)[:, :5]])
    assert (np.diff(scores) <= 0).all()
    assert ExactNeighbours(ids[:0], vectors[:0]).search(vectors[:2], 5)[0].shape == (2, 0)


@pytest.mark.parametrize("k", [1, 7, 100, 300])
def test_many_queries_at_once_find_what_each_finds_alone(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("babelclip.ann.exact.SCORES_AT_ONCE", 1000)
    exact = ExactNeighbours(np.arange(100) * 2, clustered(0, 100))
    queries = clustered(5, 3 * MANY)
    found, scores = exact.search(queries, k)
    alone = [exact.search(query[None], k) for query in queries]
    np.testing.assert_array_equal(found, np.concatenate([ids for ids, _ in alone]))
    np.testing.assert_allclose(scores, np.concatenate([own for _, own in alone]), atol=1e-6)


def test_a_search_leaves_the_threads_of_faiss_as_they_were() -> None:
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(3)
    try:
        ExactNeighbours(np.arange(9), clustered(0, 9)).search(clustered(1, 2), 2)
        assert faiss.omp_get_max_threads() == 3
    finally:
        faiss.omp_set_num_threads(before)


def test_only_what_is_allowed_is_found() -> None:
    vectors = clustered(0, 100)
    found, _ = ExactNeighbours(np.arange(100), vectors).search(vectors[:3], 5, allowed=np.array([4, 50, 99]))
    assert {*found[0].tolist()} == {4, 50, 99, -1}
    assert not is_among(np.arange(5), np.empty(0, np.int64)).any()
    many, some = np.arange(0, 9000, 3), np.arange(0, 6000, 2)
    for asked in (many, many[:500]):
        assert is_among(asked, some).tolist() == [one % 2 == 0 and one < 6000 for one in asked.tolist()]


def test_answers_are_merged_best_first_without_gaps() -> None:
    one = (np.array([[3, 1]]), np.array([[0.9, 0.5]], np.float32))
    other = (np.array([[7, -1]]), np.array([[0.7, 0.99]], np.float32))
    ids, scores = merged([one, other], 3)
    assert ids.tolist() == [[3, 7, 1]]
    assert scores[0].tolist() == pytest.approx([0.9, 0.7, 0.5])


def test_a_large_collection_gets_files_that_find_what_exact_search_finds(catalog: Catalog) -> None:
    fill(catalog, 0, 4000)
    neighbours, exact = follower(catalog), follower(catalog, 10**9)
    assert neighbours.files is not None
    assert exact.files is None
    assert neighbours.files.generation.recall >= 0.98
    assert recall(neighbours, exact) >= 0.97
    _, scores = neighbours.search(clustered(0, 4000)[:5], 1)
    assert scores[:, 0] == pytest.approx(1, abs=1e-3)


def test_a_walk_begins_at_the_gates_that_are_nearest_to_the_query(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("babelclip.ann.hnsw.GATE_SHARE", 1.0)
    rows = clustered(1, 3000)
    graph = ProximityGraph.trained(rows)
    graph.add(rows)
    links = graph.index.hnsw.neighbors
    faiss.rev_swig_ptr(links.data(), links.size())[:] = -1
    stored, queries = rows.astype(np.float16), clustered(5, 20)
    for query, nearest in zip(queries, exact_nearest(queries, 10, [stored]), strict=True):
        assert len(np.intersect1d(graph.search(query, 10, stored)[0], nearest)) >= 9


def test_queries_take_the_more_effort_the_farther_their_nearest_gate_is_and_each_band_finds_enough() -> None:
    rows = clustered(1, 3000)
    apart = unit_rows(np.random.default_rng(3).standard_normal((200, DIMENSION)).astype(np.float32))
    stored = rows.astype(np.float16)
    graph = ProximityGraph.trained(rows)
    graph.add(rows)
    graph.finish()
    pictures, texts = (Asked(queries, exact_nearest(queries, 10, [stored])) for queries in (rows[:100], apart))
    reached = tune(graph, pictures, [texts], stored, 0.98)
    costs = [step.breadth + step.candidates for step in graph.efforts.steps]
    assert reached >= 0.98
    assert costs == sorted(costs)
    assert costs[0] < costs[-1]
    band = np.searchsorted(graph.efforts.borders, graph.nearness(apart), side="right")
    for number, step in enumerate(graph.efforts.steps):
        here = apart[band == number]
        assert len(here) >= 10
        assert {graph.efforts.at(distance) for distance in graph.nearness(here)} == {step}
    hits = [len(np.intersect1d(graph.search(q, 10, stored)[0], t)) for q, t in zip(apart, texts.nearest, strict=True)]
    assert np.mean(hits) >= 9.8
    pictures_at = [graph.efforts.at(distance) for distance in graph.nearness(rows[100:400])]
    assert np.mean([step == graph.efforts.steps[0] for step in pictures_at]) > 0.8
    assert tune(graph, pictures, [], stored, 0.98) >= 0.98


def test_a_search_opens_as_many_nodes_and_scores_as_many_candidates_as_its_band_says() -> None:
    rows = clustered(1, 3000)
    graph = ProximityGraph.trained(rows)
    graph.add(rows)
    asked = rows[100:140]
    middle = float(np.median(graph.nearness(asked)))
    graph.efforts = Efforts((middle,), (Effort(64, 30), Effort(64, 60)))
    for query, distance in zip(asked, graph.nearness(asked), strict=True):
        assert len(graph._candidates(query, 1)) == (30 if distance < middle else 60)


def test_links_lead_both_ways_where_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("babelclip.ann.hnsw_links.BLOCK", 700)
    index = faiss.IndexHNSWFlat(DIMENSION, 4)
    index.add(clustered(1, 2000))
    links = GraphLinks(index.hnsw)
    nodes = np.arange(2000)
    before = [set(row[row >= 0].tolist()) for row in links.of(nodes)]
    links.add_ways_back()
    after = [set(row[row >= 0].tolist()) for row in links.of(nodes)]
    assert sum(map(len, after)) > sum(map(len, before))
    back = [set(np.flatnonzero([node in row for row in before]).tolist()) for node in nodes[:50]]
    for node in nodes[:50].tolist():
        assert before[node] <= after[node] <= before[node] | back[node]
        assert back[node] <= after[node] or len(after[node]) == 8
        row = links.of(nodes[node : node + 1])[0]
        assert (row[len(after[node]) :] == -1).all()


def test_laying_nodes_side_by_side_changes_no_answer_but_brings_near_ones_together() -> None:
    rows = clustered(1, 3000)
    graph = ProximityGraph.trained(rows)
    graph.add(rows)
    stored = rows.astype(np.float16)
    graph.finish()
    assert sorted(graph.rows.tolist()) == list(range(3000))
    found = [graph.search(row, 1, stored)[0][0] for row in rows[:100]]
    assert found == list(range(100))
    laid = rows[graph.rows]
    assert (laid[:-1] * laid[1:]).sum(axis=1).mean() > 2 * (rows[:-1] * rows[1:]).sum(axis=1).mean() + 0.2


def test_a_few_rows_of_a_file_are_read_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = clustered(0, 3000).astype(np.float16)
    np.save(tmp_path / "vectors.npy", vectors)
    file = VectorFile(tmp_path / "vectors.npy")
    rows = np.array([2999, 0, 17, 17])
    np.testing.assert_array_equal(file[rows], vectors[rows])
    many = np.arange(2500)
    np.testing.assert_array_equal(file[many], vectors[many])
    with pytest.raises(IndexError, match="no row 3000"):
        file[np.array([3000])]
    monkeypatch.delattr("os.preadv")
    np.testing.assert_array_equal(file[rows], vectors[rows])


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="only Linux says what is resident")
def test_reading_a_few_rows_leaves_a_file_out_of_resident_memory(tmp_path: Path) -> None:
    path = tmp_path / "vectors.npy"
    np.save(path, np.ones((20_000, 128), np.float16))
    file = VectorFile(path)
    for start in range(0, 20_000, 500):
        file[np.arange(start, start + 500)]
    assert resident_kib(path) < 200
    assert file[np.arange(20_000)].all()
    assert resident_kib(path) > 4000


def resident_kib(path: Path) -> int:
    told = Path("/proc/self/smaps").read_text().split(str(path))[1:]
    return sum(int(one.split("Rss:")[1].split()[0]) for one in told)


def test_filtered_search_keeps_its_recall(catalog: Catalog) -> None:
    vectors = fill(catalog, 0, 4000)
    neighbours, exact = follower(catalog), follower(catalog, 10**9)
    for share in (1.5, 2, 10, 100):
        assert recall(neighbours, exact, allowed=np.arange(1, 4001, share).astype(np.int64)) >= 0.97
    cosines = vectors @ vectors[7]
    for alike in (0.1, 0.5, 0.9):
        for among in (cosines < np.quantile(cosines, alike), cosines > np.quantile(cosines, alike)):
            assert recall(neighbours, exact, allowed=1 + np.flatnonzero(among)) >= 0.97


def test_a_walk_that_would_take_longer_than_comparing_with_all_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("babelclip.ann.hnsw.NODE_COST", 60)
    rows = clustered(1, 3000)
    graph = ProximityGraph.trained(rows)
    graph.add(rows)
    stored = rows.astype(np.float16)
    links = graph.index.hnsw.neighbors
    faiss.rev_swig_ptr(links.data(), links.size())[:] = -1
    graph.efforts = Efforts((), (Effort(32, 30),))
    for k in (1000, 2500):
        found, scores = graph.search(rows[0], k, stored)
        assert len(np.intersect1d(found, exact_nearest(rows[:1], k, [stored])[0])) >= 0.98 * k
        assert (np.diff(scores) <= 0).all()


def test_files_are_opened_again_and_follow_what_comes_and_goes(catalog: Catalog) -> None:
    old = fill(catalog, 0, 2000)
    first = follower(catalog)
    new = fill(catalog, 1, 300)
    gone, _ = first.search(old[:50], 1)
    catalog.forget([f"/p/0-{i}.jpg" for i in range(50)])
    first.follow()
    again = follower(catalog)
    assert first.files is not None
    assert again.files is not None
    assert again.files.generation == first.files.generation
    for neighbours in (first, again):
        assert len(neighbours) == 2250
        for allowed in (None, np.arange(1, 2301), gone[:, 0]):
            assert not np.isin(neighbours.search(old[:50], 10, allowed=allowed)[0], gone).any()
        assert recall(neighbours, follower(catalog, 10**9)) >= 0.97
        ids, scores = neighbours.search(new[:3], 1)
        assert scores[:, 0] == pytest.approx(1, abs=1e-3)
        np.testing.assert_allclose(neighbours.vectors_of(ids[:, 0]), new[:3], atol=1e-3)


@pytest.mark.slow
def test_enough_new_vectors_are_taken_into_the_files(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_ann, "LEAST_TAIL", 100)
    fill(catalog, 0, 2000)
    neighbours = follower(catalog)
    fill(catalog, 1, 300)
    neighbours.follow()
    assert neighbours.files is not None
    assert (neighbours.files.generation.rows, neighbours.files.generation.trained_rows) == (2300, 2000)
    assert recall(neighbours, follower(catalog, 10**9)) >= 0.96
    catalog.forget([f"/p/0-{i}.jpg" for i in range(1000)])
    neighbours.follow()
    assert neighbours.files.generation.rows == 1300
    assert len(list(neighbours._folder.iterdir())) == 2


def test_a_renewal_that_fails_leaves_nothing_half_taken_in(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_ann, "LEAST_TAIL", 100)
    fill(catalog, 0, 2000)
    neighbours = follower(catalog)
    fill(catalog, 1, 300)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(np, "save", full)
        with pytest.raises(OSError, match="No space"):
            neighbours.follow()
    neighbours.follow()
    assert len(neighbours) == 2300
    assert recall(neighbours, follower(catalog, 10**9)) >= 0.96


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["missing", "truncated", "vectors", "other", "garbage", "swapped"])
def test_missing_damaged_and_foreign_files_are_made_anew(catalog: Catalog, damage: str) -> None:
    fill(catalog, 0, 2000)
    made = follower(catalog).files
    assert made is not None
    folder = catalog.path.with_name("p.bc.neighbours")
    place = folder / made.generation.name
    if damage == "missing":
        next(place.glob("index*")).unlink()
    elif damage == "truncated":
        file = next(place.glob("index*"))
        file.write_bytes(file.read_bytes()[:1000])
    elif damage == "vectors":
        (place / "vectors.npy").write_bytes(b"")
    elif damage == "other":
        text = (folder / "current.json").read_text()
        (folder / "current.json").write_text(text.replace(catalog.identity, "0" * 32))
    elif damage == "garbage":
        (folder / "current.json").write_text("[1]")
    else:
        vectors = np.load(place / "vectors.npy")
        np.save(place / "vectors.npy", vectors[::-1])
    again = follower(catalog)
    assert again.files is not None
    assert again.files.generation.name != made.generation.name
    assert recall(again, follower(catalog, 10**9)) >= 0.97


def test_an_opened_graph_lies_where_it_was_read_to_and_its_codes_at_cache_lines(tmp_path: Path) -> None:
    rows = clustered(1, 500)
    graph = ProximityGraph.trained(rows)
    graph.add(rows)
    path = tmp_path / "index.faiss"
    faiss.serialize_index(graph.index).tofile(path)
    opened, memory = index_to_search(path, 500 * DIMENSION)
    assert addresses(opened)[0] % CACHE_LINE == 0
    assert all(address in range(*within(memory)) for address in addresses(opened))
    grown = index_to_grow(path)
    assert not any(address in range(*within(memory)) for address in addresses(grown))
    grown.add(graph.projection.apply(clustered(2, 10)))
    assert (grown.ntotal, opened.ntotal) == (510, 500)
    with pytest.raises(FileNotFoundError):
        index_to_search(tmp_path / "other", 0)


def addresses(index: Any) -> list[int]:
    parts = faiss.downcast_index(index.storage).codes, index.hnsw.neighbors
    return [faiss.rev_swig_ptr(part.data(), 1).ctypes.data for part in parts]


def within(memory: Any) -> tuple[int, int]:
    begin = memory[0].ctypes.data
    return begin, begin + memory[0].nbytes
