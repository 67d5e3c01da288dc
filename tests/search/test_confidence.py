from pathlib import Path

import numpy as np
import pytest

from babelclip.models.model import Model
from babelclip.search.confidence import (
    ANY,
    WEIGHTS,
    BackgroundStatistics,
    NearestPhotos,
    confidences,
    features,
    hubness,
    language_of_query,
    match_level,
    measure_background,
    vocabulary_vectors,
)
from babelclip.search.diversity import diverse_order, group_alike
from babelclip.settings import settings
from babelclip.vectors import FloatArray, unit_rows


def rows(seed: int, n: int, d: int = 16) -> FloatArray:
    return unit_rows(np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32))


def nearest_of(texts: FloatArray, photos: FloatArray, words: FloatArray) -> NearestPhotos:
    return NearestPhotos.of(texts, photos[np.argsort(-(texts @ photos.T), axis=1)[:, :5]], words)


def at(cosine: float, photo: FloatArray, other: FloatArray) -> FloatArray:
    """A text that has a cosine with a photo, and nothing more in common with it."""
    aside = unit_rows((other - (other @ photo) * photo)[None])[0]
    text: FloatArray = (cosine * photo + np.sqrt(1 - cosine**2) * aside).astype(np.float32)
    return text


def sure_of(
    text: FloatArray, photo: FloatArray, background: BackgroundStatistics, nearest: FloatArray | None = None
) -> float:
    best = photo if nearest is None else nearest
    compared = NearestPhotos.of(text[None], best[None, None], background.words)
    return float(confidences(text[None], photo[None, None] @ text, compared, background)[0, 0])


def test_a_higher_cosine_is_surer_and_one_with_hubs_less_sure() -> None:
    words, photos = rows(0, 50), rows(1, 30)
    background = measure_background(words, nearest_of(words, photos, words))
    plain, hub = photos[hubness(photos, words).argmin()], photos[hubness(photos, words).argmax()]
    text = at(0.9, plain, rows(2, 1)[0])
    assert 0 < sure_of(text, at(0.1, text, hub), background, plain) < sure_of(text, plain, background) <= 1
    assert sure_of(text, plain, background) > 0.8
    text = unit_rows((plain + hub)[None])[0]
    assert sure_of(text, plain, background, hub) < sure_of(text, plain, background)


def test_several_photos_that_fit_are_surer_than_one() -> None:
    words, photos = rows(0, 50), rows(1, 30)
    background = measure_background(words, nearest_of(words, photos, words))
    text, photo = photos[:1], photos[0]
    one, two = (NearestPhotos.of(text, np.stack([[photo] * n]), words) for n in (1, 2))
    assert two.inverted() == pytest.approx(one.inverted() + np.log(2), abs=1e-5)
    cosines = text @ photos.T
    assert (confidences(text, cosines, two, background) > confidences(text, cosines, one, background)).all()


def test_a_text_is_surer_where_the_words_near_it_are_answered() -> None:
    words, photos = rows(0, 50), rows(1, 30)
    nearest = nearest_of(words, photos, words)
    text = unit_rows(words[:10].mean(axis=0)[None])
    numbers = []
    for _ in range(2):
        background = measure_background(words, NearestPhotos(nearest.cosines.copy(), nearest.hubs))
        numbers.append(features(text, text @ photos.T, nearest_of(text, photos, words), background)[0, :, 2])
        nearest.cosines[np.argsort(-(words @ text[0]))[:10], 0] += 0.05
    assert (numbers[1] > numbers[0] + 0.1).all()
    assert WEIGHTS[2] > 0


def test_what_all_words_get_is_half_sure_whatever_the_language_gets() -> None:
    words, photos = rows(0, 50), rows(1, 30)
    nearest = nearest_of(words, photos, words)
    for shift in (-0.2, 0.0, 0.3):
        moved = NearestPhotos(nearest.cosines + np.float32(shift), nearest.hubs)
        own = confidences(words, moved.cosines[:, :1], moved, measure_background(words, moved))
        assert 0.3 < np.median(own) < 0.6


@pytest.mark.parametrize(("sure", "word"), [(0.95, "strong"), (0.6, "likely"), (0.3, "weak"), (0.05, "none")])
def test_confidence_has_a_word(sure: float, word: str) -> None:
    assert match_level(sure) == word


@pytest.mark.parametrize(
    ("text", "code"),
    [("σκύλος", "el"), ("犬と海", "ja"), ("dog", "en"), ("Hund am weiten Strand und Meer", "de"), ("xq", ANY)],
)
def test_the_language_of_a_query_is_told_or_left_open(text: str, code: str) -> None:
    assert language_of_query(text) == code


def test_vocabulary_vectors_are_stored_and_a_damaged_file_is_replaced(pair: Model, home: Path) -> None:
    made = vocabulary_vectors(pair, "de")
    assert made.shape == (200, pair.dimension)
    (file,) = (settings().home / "backgrounds").iterdir()
    np.testing.assert_array_equal(vocabulary_vectors(pair, "de"), made)
    file.write_bytes(b"damaged")
    np.testing.assert_array_equal(vocabulary_vectors(pair, "de"), made)
    assert len(vocabulary_vectors(pair, ANY)) == 200


def test_near_duplicates_follow_their_first() -> None:
    a, b = rows(0, 2)
    near = unit_rows((a + 0.01 * b)[None])[0]
    assert group_alike(np.stack([a, b, near, b])) == [[0, 2], [1, 3]]


def test_what_was_shown_leads_its_near_duplicates_and_is_not_shown_again() -> None:
    a, b = rows(0, 2)
    near = unit_rows((a + 0.01 * b)[None])[0]
    assert group_alike(np.stack([near, b, b]), a[None]) == [[1, 2]]


def test_groups_do_not_depend_on_how_many_rows_are_compared_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = np.repeat(unit_rows(np.random.default_rng(1).normal(size=(9, 16)).astype(np.float32)), 5, axis=0)
    whole = group_alike(kinds[::2])
    monkeypatch.setattr("babelclip.search.diversity.BLOCK_ROWS", 4)
    assert group_alike(kinds[::2]) == whole
    assert len(whole) == 9


def test_what_was_shown_makes_hits_differ_from_it() -> None:
    a, b = rows(0, 2)
    scores = np.array([0.9, 0.5], np.float32)
    assert diverse_order(scores, np.stack([a, b]), 0.7, 1) == [0]
    assert diverse_order(scores, np.stack([a, b]), 0.7, 1, a[None]) == [1]


@pytest.mark.parametrize("diversity", [0.2, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("led", [0, 30])
def test_what_is_chosen_is_what_comparing_all_with_all_chooses(diversity: float, led: int) -> None:
    vectors = unit_rows(rows(3, 40)[np.arange(600) % 40] + 0.5 * rows(4, 600))
    shown = rows(5, led)
    scores = vectors @ rows(6, 1)[0]
    likeness = vectors @ vectors.T
    relevance = (scores - scores.mean()) / scores.std()
    nearest = (vectors @ shown.T).max(axis=1, initial=-1)
    expected: list[int] = []
    while len(expected) < 200:
        gain = (1 - diversity) * relevance - diversity * (nearest - likeness.mean()) / likeness.std()
        gain[expected] = -np.inf
        expected.append(int(gain.argmax()))
        nearest = np.maximum(nearest, likeness[expected[-1]])
    assert diverse_order(scores, vectors, diversity, 200, shown) == expected


def test_diversity_brings_other_kinds_forward() -> None:
    a, b = rows(0, 2)
    vectors = unit_rows(np.stack([a, a + 0.01 * b, a + 0.02 * b, b]))
    scores = np.array([0.9, 0.89, 0.88, 0.5], np.float32)
    assert diverse_order(scores, vectors, 0.0, 4) == [0, 1, 2, 3]
    assert diverse_order(scores, vectors, 0.7, 2) == [0, 3]
    assert sorted(diverse_order(scores, vectors, 1.0, 9)) == [0, 1, 2, 3]
