import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from babelclip.errors import InputError
from babelclip.models.model import Model
from babelclip.query.expressions import Term
from babelclip.search.confidence import BIAS, HUB_SHARPNESS, NEAR_WORDS, NEAREST, SHARPNESS, WEIGHTS, vocabulary_vectors
from babelclip.search.index import Index
from babelclip.vectors import FloatArray


@pytest.fixture
def many(tmp_path: Path, pair: Model) -> Iterator[Index]:
    """Thirty pictures, of which five are nearly the same."""
    rng = np.random.default_rng(3)
    folder = tmp_path / "many"
    (folder / "holiday").mkdir(parents=True)
    coarse = np.zeros((4, 5, 3), dtype=np.uint8)
    for i in range(30):
        coarse = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8) if i < 26 else coarse
        place = folder / "holiday" if i % 3 == 0 else folder
        Image.fromarray(coarse).resize((90 + i, 70)).save(place / f"{i:02}.png")
    with Index.open(tmp_path / "many.bc", pair) as opened:
        opened.add_folder(folder)
        yield opened


def test_pages_share_no_photo_and_lose_none(many: Index) -> None:
    pages = [[hit.path for hit in many.search("a dog", 7, page=page)] for page in range(1, 6)]
    assert [len(page) for page in pages] == [7, 7, 7, 7, 2]
    assert len({path for page in pages for path in page}) == 30
    assert [hit.rank for hit in many.search("a dog", 7, page=2)] == list(range(8, 15))
    assert many.search("a dog", 7, page=6) == []


def test_pages_of_grouped_hits_show_near_duplicates_once(many: Index) -> None:
    pages = [many.search("a dog", 4, page=page, grouped=True) for page in range(1, 9)]
    shown = [path for page in pages for hit in page for path in (hit.path, *hit.alike)]
    assert len(shown) == len(set(shown)) == 30
    assert any(hit.alike for page in pages for hit in page)


def test_a_filter_chooses_files(many: Index) -> None:
    inside = many.search("a dog", 30, where="folder:holiday")
    assert len(inside) == 10
    assert all("/holiday/" in hit.path for hit in inside)
    outside = many.search("a dog", 30, where="NOT folder:holiday")
    assert len(outside) == 20
    assert not {hit.path for hit in inside} & {hit.path for hit in outside}
    assert many.similar(Path(inside[0].path), 3, where="folder:nowhere") == []
    with pytest.raises(InputError, match="no field 'colour'"):
        many.search("a dog", where="colour:red")


def test_a_copy_is_found_only_where_the_filter_lets_it(many: Index, tmp_path: Path) -> None:
    shutil.copy(tmp_path / "many/holiday/00.png", tmp_path / "many/copy.png")
    many.add_folder(tmp_path / "many")
    found = {hit.path for hit in many.search(tmp_path / "many/copy.png", 40, where="NOT folder:holiday")}
    assert str(tmp_path / "many/copy.png") in found
    assert str(tmp_path / "many/holiday/00.png") not in found


def test_terms_count_by_the_spread_of_their_scores(many: Index, tmp_path: Path, pair: Model) -> None:
    paths = [hit.path for hit in many.search("a dog", 30)]
    photos = pair.encode_images(paths)
    terms = [Term(tmp_path / "many/01.png", 0.5), Term("a dog"), Term("a cat", -2)]
    cosines = photos @ pair.encode([term.item for term in terms]).T
    expected = (cosines / cosines.std(axis=0)) @ np.array([0.5, 1, -2])
    found = [expected[paths.index(hit.path)] for hit in many.search(terms, 30)]
    assert len(found) == 30
    assert (np.diff(found) < 0.05 * expected.std()).all()


def test_a_negative_text_turns_the_order_round(many: Index) -> None:
    away = [hit.path for hit in many.search([Term("a dog", -1)], 30)]
    assert away == [hit.path for hit in many.search("a dog", 30)][::-1]


def test_confidence_falls_with_the_score_and_is_for_texts_alone(many: Index) -> None:
    hits = many.search("a dog", 30, language="en")
    assert all(hit.confidence is not None and 0 <= hit.confidence <= 1 and hit.match for hit in hits)
    assert hits[0].confidence > hits[-1].confidence  # type: ignore[operator]
    assert many.search([Term("a dog"), Term("a cat")], 1)[0].confidence is None
    assert many.similar(Path(hits[0].path), 1)[0].confidence is None


def test_answers_and_confidences_are_those_of_plain_products(many: Index, pair: Model) -> None:
    photos, vectors = many.pictures()
    words = vocabulary_vectors(pair, "en")
    cosines = words @ vectors.T
    hubs = np.log(np.exp(SHARPNESS * cosines).sum(axis=0))
    best = cosines.max(axis=1)

    def inverted(own: FloatArray) -> float:
        best = np.argsort(-own)[:NEAREST]
        return float(np.log(np.exp(SHARPNESS * own[best] - hubs[best]).sum()))

    def near(likeness: FloatArray) -> float:
        return float(best[np.argsort(-likeness)[:NEAR_WORDS]].mean())

    of_words = np.array([inverted(own) for own in cosines])
    near_words = np.array([near(np.where(np.arange(len(words)) == i, -1, words @ words[i])) for i in range(len(words))])
    for text in ("a dog", "two red cars on a street"):
        asked = pair.encode_text(text)
        own = vectors @ asked
        hits = many.search(text, 30, language="en")
        assert [hit.path for hit in hits] == [photos[i].path for i in np.argsort(-own)]
        logit = BIAS + WEIGHTS[0] * (own - best.mean()) / best.std()
        logit += WEIGHTS[1] * (inverted(own) - of_words.mean()) / of_words.std()
        logit += WEIGHTS[2] * (near(words @ asked) - near_words.mean()) / near_words.std()
        sure = {photo.path: one for photo, one in zip(photos, 1 / (1 + np.exp(-logit)), strict=True)}
        assert [hit.confidence for hit in hits] == pytest.approx([sure[hit.path] for hit in hits], abs=1e-3)
        for other in (many.search(text, 4, language="en", page=2), many.search(text, 3, language="en", grouped=True)):
            assert [hit.confidence for hit in other] == pytest.approx([sure[hit.path] for hit in other], abs=1e-3)


def test_evidence_and_sample_follow_the_collection(many: Index, tmp_path: Path) -> None:
    terms = [Term("a dog"), Term("a cat", -0.5)]
    many.search("a dog", language="en")
    before = many.search(terms, 30)
    for path in sorted((tmp_path / "many").glob("*.png"))[:15]:
        path.unlink()
    many.add_folder(tmp_path / "many")
    with Index.open(tmp_path / "many.bc", many.model) as anew:
        for query in ("a dog", terms):
            assert many.search(query, 30, language="en") == anew.search(query, 30, language="en")
    assert many.search(terms, 30) != before


def test_nothing_is_said_of_confidence_in_a_tiny_collection(index: Index, photos: Path) -> None:
    index.add_folder(photos)
    assert index.search("a dog")[0].confidence is None


def test_diversity_and_queries_alike_change_the_order_and_not_the_photos(many: Index) -> None:
    plain = many.search("a dog", 30)
    for options in ({"diversity": 0.8}, {"queries_like": ["a cat", "a tree", "un chien"]}):
        other = many.search("a dog", 30, **options)
        assert {hit.path for hit in other} == {hit.path for hit in plain}
        assert [hit.path for hit in other] != [hit.path for hit in plain]


def test_photos_that_fit_many_queries_count_less(many: Index, pair: Model) -> None:
    photos, vectors = many.pictures()
    others = ["a cat", "a tree", "un chien"]
    logits = HUB_SHARPNESS * vectors @ pair.encode_text(["a dog", *others]).T
    expected = logits[:, 0] - np.log(np.exp(logits[:, 1:]).sum(axis=1))
    hits = many.search("a dog", 30, queries_like=others)
    assert [hit.path for hit in hits] == [photos[i].path for i in np.argsort(-expected)]


def test_a_text_from_which_another_is_taken_is_as_sure_as_by_itself(many: Index) -> None:
    alone = {hit.path: hit.confidence for hit in many.search("a dog", 30, language="en")}
    less = many.search([Term("a dog"), Term("a cat", -0.5)], 30, language="en")
    assert {hit.path: hit.confidence for hit in less} == pytest.approx(alone)
    assert [hit.path for hit in less] != list(alone)


@pytest.mark.parametrize("written", ["Köpek SAHILDE", "ko\u0308pek sahilde", "köpek\u00ad \u200bsahilde\u2060"])
def test_a_query_finds_the_same_however_a_keyboard_writes_it(pair: Model, photos: Path, written: str) -> None:
    with Index.open(photos.parent / "normal.bc", pair) as index:
        index.add_folder(photos)
        plain = [(hit.path, hit.score) for hit in index.search("köpek sahilde", k=5)]
        assert [(hit.path, hit.score) for hit in index.search(written.replace("I", "i"), k=5)] == plain


@pytest.mark.parametrize("nothing", ["", " ", "\u200b", "\u00ad\u2060"])
def test_a_query_of_nothing_that_can_be_seen_is_refused(pair: Model, photos: Path, nothing: str) -> None:
    with (
        Index.open(photos.parent / "nothing.bc", pair) as index,
        pytest.raises(InputError, match="the query is empty"),
    ):
        index.search(nothing)
