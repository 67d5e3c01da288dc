import faiss
import numpy as np
import pytest

from babelclip.ann.exact import MANY, ExactNeighbours, is_among, merged
from tests.helpers.clustered import clustered


def test_exact_neighbours_are_the_largest_cosines() -> None:
    vectors = clustered(0, 100)
    ids = np.arange(100) * 3 + 5
    nearest, scores = ExactNeighbours(ids, vectors).search(vectors[:4], 5)
    np.testing.assert_array_equal(nearest, ids[np.argsort(-(vectors[:4] @ vectors.T), axis=1)[:, :5]])
    assert (np.diff(scores) <= 0).all()
    assert ExactNeighbours(ids[:0], vectors[:0]).search(vectors[:2], 5)[0].shape == (2, 0)


@pytest.mark.parametrize("k", [1, 7, 100, 300])
def test_many_queries_at_once_find_what_each_finds_alone(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("babelclip.ann.exact.COSINES_PER_PRODUCT", 1000)
    exact = ExactNeighbours(np.arange(100) * 2, clustered(0, 100))
    queries = clustered(5, 3 * MANY)
    nearest, scores = exact.search(queries, k)
    alone = [exact.search(query[None], k) for query in queries]
    np.testing.assert_array_equal(nearest, np.concatenate([ids for ids, _ in alone]))
    np.testing.assert_allclose(scores, np.concatenate([single for _, single in alone]), atol=1e-6)


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
    nearest, _ = ExactNeighbours(np.arange(100), vectors).search(vectors[:3], 5, allowed=np.array([4, 50, 99]))
    assert {*nearest[0].tolist()} == {4, 50, 99, -1}
    assert not is_among(np.arange(5), np.empty(0, np.int64)).any()
    many, some = np.arange(0, 9000, 3), np.arange(0, 6000, 2)
    for ids in (many, many[:500]):
        assert is_among(ids, some).tolist() == [number % 2 == 0 and number < 6000 for number in ids.tolist()]


def test_answers_are_merged_best_first_without_gaps() -> None:
    first = (np.array([[3, 1]]), np.array([[0.9, 0.5]], np.float32))
    second = (np.array([[7, -1]]), np.array([[0.7, 0.99]], np.float32))
    ids, scores = merged([first, second], 3)
    assert ids.tolist() == [[3, 7, 1]]
    assert scores[0].tolist() == pytest.approx([0.9, 0.7, 0.5])
