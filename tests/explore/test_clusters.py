import builtins
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from babelclip.errors import InputError, MissingDependencyError
from babelclip.explore.clusters import gather, hdbscan, k_means, name_by_contrast
from babelclip.explore.projection import reduce
from babelclip.vectors import FloatArray, unit_rows

AXES = np.eye(8, dtype=np.float32)


def islands(sizes: list[int], spread: float = 0.15, dimensions: int = 8) -> FloatArray:
    """Photos around the axes, so many at each."""
    rng = np.random.default_rng(0)
    centres = np.repeat(np.eye(dimensions, dtype=np.float32)[: len(sizes)], sizes, axis=0)
    noise = rng.normal(scale=spread, size=centres.shape).astype(np.float32)
    return unit_rows(centres + noise)


def test_k_means_finds_the_islands_and_gives_the_same_at_every_run() -> None:
    vectors = islands([30, 20, 10])
    labels = k_means(vectors, 3)
    assert [len(set(labels[part].tolist())) for part in (slice(0, 30), slice(30, 50), slice(50, 60))] == [1, 1, 1]
    assert len(set(labels.tolist())) == 3
    assert (labels == k_means(vectors, 3)).all()


def test_more_clusters_than_photos_gives_one_for_each() -> None:
    assert len(set(k_means(islands([1, 1, 1]), 20).tolist())) == 3
    assert len(k_means(np.empty((0, 8), np.float32), 20)) == 0
    with pytest.raises(InputError, match="at least 1, not 0"):
        k_means(islands([3]), 0)


def test_clusters_come_largest_first_with_what_is_in_the_middle_first() -> None:
    vectors = islands([20, 30])
    clusters = gather(vectors, k_means(vectors, 2), ["one", "two"], AXES[:2])
    assert [cluster.name[0] for cluster in clusters] == ["two", "one"]
    assert [len(cluster.members) for cluster in clusters] == [30, 20]
    centre = vectors[clusters[0].members].mean(axis=0)
    scores = vectors[clusters[0].members] @ centre
    assert (np.diff(scores) <= 0).all()


def test_a_word_that_fits_everything_names_nothing() -> None:
    vectors = islands([20, 20, 20])
    picture = unit_rows(AXES[:3].sum(axis=0, keepdims=True))
    names = name_by_contrast(
        vectors,
        [np.arange(0, 20), np.arange(20, 40), np.arange(40, 60)],
        ["picture", "dog", "cat", "car"],
        np.concatenate([picture, AXES[:3]]),
    )
    assert names == [("dog",), ("cat",), ("car",)]


def test_clusters_with_the_same_best_word_are_told_by_a_second_one() -> None:
    rng = np.random.default_rng(0)
    snow, beach, car = AXES[0] + AXES[1], AXES[0] + AXES[2], AXES[3]
    rows = np.repeat(np.stack([snow, beach, car]), 10, axis=0) + rng.normal(scale=0.01, size=(30, 8))
    members = [np.arange(i, i + 10) for i in (0, 10, 20)]
    dog = unit_rows((AXES[0] * 3 + AXES[1] + AXES[2])[None])
    words = np.concatenate([dog, AXES[1:4] * np.float32(0.5)])
    names = name_by_contrast(unit_rows(rows.astype(np.float32)), members, ["dog", "snow", "beach", "car"], words)
    assert names == [("dog", "snow"), ("dog", "beach"), ("car",)]


@pytest.mark.slow
def test_hdbscan_finds_the_number_and_leaves_out_what_belongs_nowhere() -> None:
    pytest.importorskip("umap")
    vectors = islands([60, 60, 60], spread=0.08, dimensions=32)
    labels = hdbscan(vectors, 15)
    assert len(set(labels[labels >= 0].tolist())) == 3
    for part in (slice(0, 60), slice(60, 120), slice(120, 180)):
        held = labels[part][labels[part] >= 0]
        assert len(held) > 40
        assert len(set(held.tolist())) == 1
    assert (hdbscan(vectors[:10], 15) == -1).all()
    assert gather(vectors[:10], hdbscan(vectors[:10], 15), ["a"], np.eye(1, 32, dtype=np.float32)) == []
    with pytest.raises(InputError, match="at least 2 photos, not 1"):
        hdbscan(vectors, 1)


@pytest.mark.slow
def test_the_atlas_puts_side_by_side_what_is_alike_and_is_the_same_at_every_run() -> None:
    pytest.importorskip("umap")
    vectors = islands([30, 30], spread=0.08, dimensions=32)
    places = reduce(vectors)
    assert places.shape == (60, 2)
    assert places.dtype == np.float32
    centres = np.stack([places[:30].mean(axis=0), places[30:].mean(axis=0)])
    nearer = np.linalg.norm(places[:, None] - centres, axis=2).argmin(axis=1)
    assert (nearer == np.repeat([0, 1], 30)).all()
    assert (places == reduce(vectors)).all()


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_a_few_photos_need_no_umap(count: int) -> None:
    places = reduce(islands([count]) if count else np.empty((0, 8), np.float32))
    assert places.shape == (count, 2)
    assert np.isfinite(places).all()


def test_without_umap_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    original: Callable[..., Any] = builtins.__import__

    def without(name: str, *rest: Any, **named: Any) -> Any:
        if name.split(".")[0] in ("umap", "sklearn"):
            raise ModuleNotFoundError(name, name=name)
        return original(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingDependencyError, match=r"umap-learn is not installed.*babelclip\[explore\]"):
        reduce(islands([20]))
    with pytest.raises(MissingDependencyError, match=r"scikit-learn is not installed.*babelclip\[explore\]"):
        hdbscan(islands([20]), 5)
