"""The classifier; what numbers should be is worked out by hand here."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import babelclip
from babelclip.errors import ImageError, InputError
from babelclip.models.model import LOGIT_SCALE, Model
from babelclip.vectors import unit_rows
from babelclip.zeroshot import Classifier, Label, Prediction, classifier, classify
from babelclip.zeroshot.background_vocabulary import background_vocabulary
from babelclip.zeroshot.calibration import softmax
from babelclip.zeroshot.label_language import language_of
from babelclip.zeroshot.labels import as_labels
from babelclip.zeroshot.templates import templates_of

TREE = {"animal": {"dog": ["hound"], "cat": []}, "vehicle": {"car": []}}


def vectors(n: int, dimension: int = 512) -> Any:
    return unit_rows(np.random.default_rng(3).standard_normal((n, dimension)).astype(np.float32))


def test_a_class_is_the_unit_mean_of_the_unit_vectors_of_its_prompts(pair: Model) -> None:
    found = Classifier(pair, {"dog": ["hound"], "cat": []}, templates=["{}", "a {}"]).matrix
    expected = [
        pair.encode_text(texts).mean(axis=0) for texts in (["dog", "a dog", "hound", "a hound"], ["cat", "a cat"])
    ]
    assert np.allclose(found, unit_rows(np.stack(expected)), atol=1e-6)


def test_the_bare_name_weighs_three_times_what_the_templates_of_its_language_do_together(pair: Model) -> None:
    one = Classifier(pair, ["Hund"], language="de")
    bare, *others = pair.encode_text([template.replace("{}", "Hund") for template in one.templates])
    expected = 0.75 * bare + 0.25 * np.mean(others, axis=0)
    assert len(others) > 1
    assert np.allclose(one.matrix, unit_rows(expected[None]), atol=1e-6)


def test_labels_embedded_in_batches_give_the_same_matrix(pair: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = {f"label {i}": [f"other {i} {j}" for j in range(i % 4)] for i in range(30)}
    whole = Classifier(pair, labels, templates=["{}", "the {}"]).matrix
    monkeypatch.setattr(classifier, "PROMPT_BATCH", 7)
    calls: list[tuple[int, int]] = []
    batched = Classifier(pair, labels, templates=["{}", "the {}"], progress=lambda *at: calls.append(at)).matrix
    assert np.allclose(whole, batched, atol=1e-5)
    assert calls[-1] == (146, 146)
    assert len(calls) > 10


def test_probabilities_are_the_softmax_of_scaled_cosines(pair: Model) -> None:
    one = Classifier(pair, ["dog", "cat", "bird"], templates=["{}"], temperature=2.0)
    pictures = vectors(4, pair.dimension)
    expected = softmax(pair.logit_scale / 2 * pictures @ pair.encode_text(["dog", "cat", "bird"]).T)
    found, none = one.probabilities(pictures)
    assert np.allclose(found, expected, atol=1e-5)
    assert none is None


def test_label_smoothing_leaves_the_probability_of_none_of_these_unchanged(pair: Model) -> None:
    pictures = vectors(4, pair.dimension)
    for options in ({}, {"abstain": 0.5}, {"multi": True}):
        plain, smoothed = (
            Classifier(pair, ["quark", "ball"], language="en", templates=["{}"], label_smoothing=smoothing, **options)
            for smoothing in (0.0, 0.2)
        )
        (before, none), (after, still) = plain.probabilities(pictures), smoothed.probabilities(pictures)
        if "multi" in options:
            assert np.allclose(after, 0.8 * before + 0.1, atol=1e-6)
            continue
        together = before.sum(axis=1, keepdims=True)
        assert np.allclose(after, 0.8 * before + 0.1 * together, atol=1e-6)
        if none is not None and still is not None:
            assert np.allclose(none, still)
        assert (none is None) == (still is None) == ("abstain" not in options)


def test_a_subset_of_labels_equals_a_classifier_of_these_labels(pair: Model) -> None:
    pictures = vectors(4, pair.dimension)
    names = ["quark", "ball", "dog", "gluon"]
    every = Classifier(pair, names, language="en", abstain=0.5, label_smoothing=0.1)
    some = every.among([1, 3])
    alone = Classifier(pair, ["ball", "gluon"], language="en", abstain=0.5, label_smoothing=0.1)
    assert some.labels == alone.labels
    (found, none), (expected, alike) = some.probabilities(pictures), alone.probabilities(pictures)
    assert none is not None
    assert alike is not None
    assert np.allclose(found, expected, atol=1e-5)
    assert np.allclose(none, alike, atol=1e-5)
    assert len(every.labels) == len(every.matrix) == 4
    (prediction,) = Classifier(pair, names, language="en").among([2]).predict(pictures[:1])
    assert prediction.none == pytest.approx(1 - prediction.ranked[0].score)
    tree = Classifier(pair, TREE)
    assert tree.among([0, 2]).labels == [tree.labels[0], tree.labels[2]]
    with pytest.raises(InputError, match="is below 'animal'"):
        tree.among([1, 2])
    with pytest.raises(InputError, match="no labels"):
        tree.among([])


def test_abstention_adds_the_background_vocabulary(pair: Model) -> None:
    pictures = vectors(5, pair.dimension)
    one = Classifier(pair, ["dog", "quark"], language="en", abstain=0.5)
    found, none = one.probabilities(pictures)
    assert none is not None
    assert np.allclose(found.sum(axis=1) + none, 1, atol=1e-5)
    for prediction, nothing in zip(one.predict(pictures), none.tolist(), strict=True):
        assert prediction.none == pytest.approx(nothing)
        assert (prediction.label is None) == (nothing > 0.5)


def test_synonyms_of_labels_are_left_out_of_the_background_vocabulary(pair: Model) -> None:
    pictures = vectors(3, pair.dimension)
    one = Classifier(pair, {"dog": ["Cat "], "quark": []}, language="en", templates=["{}"], abstain=0.5)
    assert one.background is not None
    words = background_vocabulary("en")
    others = dict(zip(words, one.background.others.T.tolist(), strict=True))
    assert others["dog"][0] is others["cat"][0] is False
    # Of all pairs of words, one in two hundred is so near as to count as the same.
    assert one.background.others[1].sum() > 0.8 * len(words)
    kept = [word for word in words if all(others[word])]
    logits = np.float32(pair.logit_scale) * np.hstack([pictures @ one.matrix.T, pictures @ pair.encode_text(kept).T])
    assert np.allclose(one.probabilities(pictures)[0], softmax(logits)[:, :2], atol=1e-4)


def test_the_background_vocabulary_uses_the_templates_of_the_labels(pair: Model) -> None:
    one = Classifier(pair, ["quark"], language="en", templates=["{}", "a {}"])
    assert one.background is not None
    word = background_vocabulary("en")[0]
    expected = unit_rows(pair.encode_text([word, f"a {word}"]).mean(axis=0)[None])[0]
    assert np.allclose(one.background.vectors[0], expected, atol=1e-5)


def test_a_single_label_is_compared_with_the_background_vocabulary(pair: Model) -> None:
    (prediction,) = Classifier(pair, ["dog"]).predict(vectors(1, pair.dimension))
    assert prediction.ranked[0].score < 1
    assert prediction.none is not None
    assert prediction.none == pytest.approx(1 - prediction.ranked[0].score)
    assert (prediction.label == "dog") == (prediction.none <= 0.5)
    (seen,) = Classifier(pair, ["quark"], templates=["{}"], temperature=0.01).predict(pair.encode_text(["quark"]))
    assert (seen.label, [one.label for one in seen.holding]) == ("quark", ["quark"])
    (tree,) = Classifier(pair, {"animal": {"dog": []}}).predict(vectors(1, pair.dimension))
    assert tree.ranked[0].score < 1


def test_with_multi_another_label_changes_nothing(pair: Model) -> None:
    pictures = vectors(4, pair.dimension)
    few, more = (
        Classifier(pair, labels, language="en", templates=["{}"], multi=True).probabilities(pictures)[0]
        for labels in (["quark", "ball"], ["quark", "ball", "dog"])
    )
    assert np.allclose(few, more[:, :2], atol=1e-5)
    assert not np.allclose(few.sum(axis=1), 1, atol=1e-3)


def test_with_multi_several_labels_or_none_apply(pair: Model) -> None:
    one = Classifier(pair, ["quark", "gluon"], templates=["{}"], multi=True, temperature=0.01)
    both = unit_rows(pair.encode_text(["quark", "gluon"]).mean(axis=0)[None])
    (prediction,) = one.predict(both)
    assert {label.label for label in prediction.holding} == {"quark", "gluon"}
    (nothing,) = one.predict(pair.encode_text([background_vocabulary("en")[5]]))
    assert nothing.label is None
    assert nothing.holding == ()


@pytest.mark.parametrize("multi", [False, True])
def test_in_a_tree_no_label_scores_less_than_its_descendants(pair: Model, multi: bool) -> None:
    one = Classifier(pair, TREE, multi=multi)
    pictures = vectors(6, pair.dimension)
    found, _ = one.probabilities(pictures)
    animal, dog, cat, vehicle, car = found.T
    assert (animal >= np.maximum(dog, cat)).all()
    assert (vehicle >= car).all()
    if not multi:
        assert np.allclose(animal + vehicle, 1, atol=1e-5)
        assert (animal > dog + cat).all()


def test_the_answer_goes_down_a_tree_while_one_below_has_more_than_half(pair: Model) -> None:
    one = Classifier(pair, TREE, templates=["{}"], temperature=0.01)
    rows = {"dog": "dog", "animal": "animal", "car": "car"}
    pictures = pair.encode_text(list(rows))
    assert [prediction.label for prediction in one.predict(pictures)] == list(rows.values())
    best = one.predict(pictures)[0].ranked
    assert best[0].label == "animal"
    assert best[1].path == ("animal", "dog")


def test_a_child_without_its_parent_is_an_error(pair: Model) -> None:
    with pytest.raises(InputError, match="is below 'animal'"):
        Classifier(pair, [Label("dog", ("dog",), ("animal",))])


def test_labels_are_ranked_and_cut(pair: Model) -> None:
    (prediction,) = Classifier(pair, ["a", "b", "c"]).predict(vectors(1, pair.dimension), top=2)
    assert len(prediction.ranked) == 2
    assert prediction.ranked[0].score >= prediction.ranked[1].score
    assert prediction.label == prediction.ranked[0].label


def test_a_broken_picture_is_reported_in_its_place(pair: Model, photos: Path) -> None:
    (photos / "b.png").write_bytes(b"broken")
    files = sorted(photos.glob("*.*"))
    found = list(Classifier(pair, ["dog", "cat"]).stream(files))
    assert [image for image, _ in found] == files
    assert [isinstance(answer, Prediction) for _, answer in found] == [True, False, True]
    with pytest.raises(ImageError, match=r"b\.png"):
        Classifier(pair, ["dog", "cat"]).classify(files)


def test_one_picture_gives_one_prediction_and_a_list_a_list(pair: Model, photos: Path) -> None:
    alone = classify(pair, photos / "a.jpg", ["dog", "cat"])
    assert babelclip.classify(pair, [photos / "a.jpg"], ["dog", "cat"]) == [alone]


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        (["dog", "\u200b"], {}, r"no token for the label '\\u200b'"),
        (["dog"], {"temperature": 0.0}, "temperature must be over 0"),
        (["dog"], {"temperature": float("nan")}, "temperature must be over 0"),
        (["dog"], {"label_smoothing": 0.6}, "label_smoothing must be between 0 and 0.5"),
        (["dog"], {"label_smoothing": float("nan")}, "label_smoothing must be between 0 and 0.5"),
        ([Label("a", ()), "b"], {}, "without text: 'a'"),
        (["dog"], {"abstain": 1.0}, "between 0 and 1"),
        (["dog"], {"templates": ["no place"]}, "no place"),
        (["dog"], {"templates": []}, "must contain {} once"),
    ],
)
def test_an_invalid_argument_is_an_error(
    pair: Model, labels: Sequence[str], options: Mapping[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Classifier(pair, labels, **options)


def test_the_language_is_guessed_from_all_labels_and_chooses_the_templates(pair: Model) -> None:
    assert Classifier(pair, ["犬", "ねこ", "鳥"]).language == "ja"
    assert Classifier(pair, ["犬", "ねこ", "鳥"]).templates == templates_of("ja")
    assert Classifier(pair, ["blorp"]).templates == ("{}",)
    assert Classifier(pair, ["blorp"], language="EN").templates == templates_of("en")


@pytest.mark.parametrize(
    ("labels", "language"),
    [
        ("Hund Katze Pferd", "de"),
        ("cane gatto cavallo", "it"),
        ("собака кошка лошадь", "ru"),
        ("dog cat horse", "en"),
        ("狗 猫 马", "zh-cn"),
        ("개 고양이", "ko"),
        ("hund", None),
        ("blorp flumph", None),
    ],
)
def test_a_few_common_words_identify_the_language(labels: str, language: str | None) -> None:
    assert language_of(as_labels(labels.split())) == language


def test_wrong_calls_are_errors(pair: Model) -> None:
    one = Classifier(pair, ["dog", "cat"])
    with pytest.raises(InputError, match="as a list"):
        one.classify("a.jpg")
    with pytest.raises(InputError, match="top must be 1"):
        one.predict(vectors(1, pair.dimension), top=0)
    assert one.predict(vectors(1, pair.dimension)[:0]) == []


def test_the_scale_is_that_of_the_weights(pair: Model) -> None:
    assert pair.logit_scale == pytest.approx(np.exp(2.6592), rel=1e-3)
    assert LOGIT_SCALE == 100
