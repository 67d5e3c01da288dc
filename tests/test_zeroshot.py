"""Labels, templates, the classifier, calibration and examples; what numbers should be is worked out by hand here."""

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import babelclip
from babelclip.errors import DataError, ImageError, InputError
from babelclip.languages import CODES
from babelclip.model import LOGIT_SCALE, Model
from babelclip.vectors import unit_rows
from babelclip.zeroshot import Classifier, Label, Prediction, classifier, classify, read_labels
from babelclip.zeroshot.background import everyday_words
from babelclip.zeroshot.calibration import Calibration, calibration_error, fit_calibration, softmax
from babelclip.zeroshot.examples import read_examples, refine
from babelclip.zeroshot.labels import as_labels
from babelclip.zeroshot.language import language_of
from babelclip.zeroshot.templates import templates_of

TREE = {"animal": {"dog": ["hound"], "cat": []}, "vehicle": {"car": []}}


def vectors(n: int, dimension: int = 512) -> Any:
    return unit_rows(np.random.default_rng(3).standard_normal((n, dimension)).astype(np.float32))


def ignore(error: OSError) -> None:
    """Folders that cannot be read do not matter here."""


class TestLabels:
    def test_names_synonyms_and_trees_are_read(self) -> None:
        assert as_labels(["dog ", Label("cat", ("cat", "Katze"))]) == [
            Label("dog", ("dog",)),
            Label("cat", ("cat", "Katze")),
        ]
        assert as_labels(TREE) == [
            Label("animal", ("animal",)),
            Label("dog", ("dog", "hound"), ("animal",)),
            Label("cat", ("cat",), ("animal",)),
            Label("vehicle", ("vehicle",)),
            Label("car", ("car",), ("vehicle",)),
        ]

    def test_a_text_file_gives_synonyms_by_bars_and_a_tree_by_indents(self, tmp_path: Path) -> None:
        lines = "animal\n\tdog | hound | dog\n    cat\n\nvehicle\n  car\n"
        (tmp_path / "labels.txt").write_text(lines, encoding="utf-8")
        assert read_labels(tmp_path / "labels.txt") == as_labels(TREE)

    def test_json_gives_the_same_as_python(self, tmp_path: Path) -> None:
        for content in (["a", "b"], TREE):
            (tmp_path / "labels.json").write_text(json.dumps(content), encoding="utf-8")
            assert read_labels(tmp_path / "labels.json") == as_labels(content)

    def test_a_file_of_babel_imagenet_needs_its_language_and_may_repeat_names(self, tmp_path: Path) -> None:
        content = {"DE": [[0, 1], ["Kran", "Kran"]], "wnids": ["n1", "n2"]}
        path = tmp_path / "names.json.gz"
        path.write_bytes(gzip.compress(json.dumps(content).encode()))
        assert [(label.name, label.key) for label in read_labels(path, "de")] == [("Kran", "n1"), ("Kran", "n2")]
        for language in (None, "fr"):
            with pytest.raises(InputError, match="there are de"):
                read_labels(path, language)

    @pytest.mark.parametrize(
        ("labels", "message"),
        [
            ([], "no labels"),
            ({}, "no labels"),
            ("dog", "is one text"),
            (["dog", " "], "no text"),
            (["dog", 3], "not int"),
            (["dog", "cat", "dog"], "given twice: 'dog'"),
            ({"dog": 3}, "'dog' must have a list"),
        ],
    )
    def test_labels_that_cannot_be_used_are_named(self, labels: Any, message: str) -> None:
        with pytest.raises(InputError, match=message):
            as_labels(labels)

    @pytest.mark.parametrize(("name", "content"), [("x.json", b"{"), ("x.json", b"3"), ("x.txt", b"\xff\xff")])
    def test_a_damaged_file_is_named(self, tmp_path: Path, name: str, content: bytes) -> None:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=name):
            read_labels(tmp_path / name)
        with pytest.raises(DataError, match="missing"):
            read_labels(tmp_path / "missing.txt")


class TestWords:
    @pytest.mark.parametrize("code", CODES)
    def test_every_language_has_templates_and_everyday_words(self, code: str) -> None:
        templates = templates_of(code)
        assert templates[0] == "{}"
        assert len(set(templates)) == len(templates) >= 4
        assert all(template.count("{}") == 1 for template in templates)
        words = everyday_words(code)
        assert len(words) == len(everyday_words("en")) >= 50
        assert all(word.strip() == word and word for word in words)

    def test_a_language_without_templates_has_the_bare_name_and_english_things(self) -> None:
        assert templates_of("tlh") == templates_of(None) == ("{}",)
        assert everyday_words("tlh") == everyday_words(None) == everyday_words("en")


class TestClassifier:
    def test_a_class_is_the_unit_mean_of_the_unit_vectors_of_its_prompts(self, pair: Model) -> None:
        found = Classifier(pair, {"dog": ["hound"], "cat": []}, templates=["{}", "a {}"]).matrix
        expected = [
            pair.encode_text(texts).mean(axis=0) for texts in (["dog", "a dog", "hound", "a hound"], ["cat", "a cat"])
        ]
        assert np.allclose(found, unit_rows(np.stack(expected)), atol=1e-6)

    def test_the_bare_name_weighs_three_times_what_the_templates_of_its_language_do_together(self, pair: Model) -> None:
        one = Classifier(pair, ["Hund"], language="de")
        bare, *others = pair.encode_text([template.replace("{}", "Hund") for template in one.templates])
        expected = 0.75 * bare + 0.25 * np.mean(others, axis=0)
        assert len(others) > 1
        assert np.allclose(one.matrix, unit_rows(expected[None]), atol=1e-6)

    def test_many_labels_in_pieces_give_the_same_matrix(self, pair: Model, monkeypatch: pytest.MonkeyPatch) -> None:
        labels = {f"label {i}": [f"other {i} {j}" for j in range(i % 4)] for i in range(30)}
        whole = Classifier(pair, labels, templates=["{}", "the {}"]).matrix
        monkeypatch.setattr(classifier, "PROMPTS_AT_ONCE", 7)
        told: list[tuple[int, int]] = []
        pieces = Classifier(pair, labels, templates=["{}", "the {}"], progress=lambda *at: told.append(at)).matrix
        assert np.allclose(whole, pieces, atol=1e-5)
        assert told[-1] == (146, 146)
        assert len(told) > 10

    def test_probabilities_are_the_softmax_of_scaled_cosines(self, pair: Model) -> None:
        one = Classifier(pair, ["dog", "cat", "bird"], templates=["{}"], temperature=2.0)
        pictures = vectors(4, pair.dimension)
        expected = softmax(pair.logit_scale / 2 * pictures @ pair.encode_text(["dog", "cat", "bird"]).T)
        found, none = one.probabilities(pictures)
        assert np.allclose(found, expected, atol=1e-5)
        assert none is None

    def test_doubt_is_spread_over_the_labels_and_leaves_none_of_these_as_it_is(self, pair: Model) -> None:
        pictures = vectors(4, pair.dimension)
        for options in ({}, {"abstain": 0.5}, {"multi": True}):
            sure, doubting = (
                Classifier(pair, ["quark", "ball"], language="en", templates=["{}"], doubt=doubt, **options)
                for doubt in (0.0, 0.2)
            )
            (before, none), (after, still) = sure.probabilities(pictures), doubting.probabilities(pictures)
            if "multi" in options:
                assert np.allclose(after, 0.8 * before + 0.1, atol=1e-6)
                continue
            together = before.sum(axis=1, keepdims=True)
            assert np.allclose(after, 0.8 * before + 0.1 * together, atol=1e-6)
            if none is not None and still is not None:
                assert np.allclose(none, still)
            assert (none is None) == (still is None) == ("abstain" not in options)

    def test_some_of_the_labels_are_as_a_classifier_of_their_own(self, pair: Model) -> None:
        pictures = vectors(4, pair.dimension)
        names = ["quark", "ball", "dog", "gluon"]
        every = Classifier(pair, names, language="en", abstain=0.5, doubt=0.1)
        some = every.among([1, 3])
        alone = Classifier(pair, ["ball", "gluon"], language="en", abstain=0.5, doubt=0.1)
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
        with pytest.raises(InputError, match="stands below 'animal'"):
            tree.among([1, 2])
        with pytest.raises(InputError, match="no labels"):
            tree.among([])

    def test_abstention_adds_everyday_things_that_no_label_names(self, pair: Model) -> None:
        pictures = vectors(5, pair.dimension)
        one = Classifier(pair, ["dog", "quark"], language="en", abstain=0.5)
        found, none = one.probabilities(pictures)
        assert none is not None
        assert np.allclose(found.sum(axis=1) + none, 1, atol=1e-5)
        for prediction, nothing in zip(one.predict(pictures), none.tolist(), strict=True):
            assert prediction.none == pytest.approx(nothing)
            assert (prediction.label is None) == (nothing > 0.5)

    def test_everyday_words_that_are_a_label_are_left_out(self, pair: Model) -> None:
        pictures = vectors(3, pair.dimension)
        one = Classifier(pair, {"dog": ["Cat "], "quark": []}, language="en", templates=["{}"], abstain=0.5)
        assert one.everyday is not None
        words = everyday_words("en")
        others = dict(zip(words, one.everyday.others.T.tolist(), strict=True))
        assert others["dog"][0] is others["cat"][0] is False
        # Of all pairs of words, one in two hundred is so near as to count as the same.
        assert one.everyday.others[1].sum() > 0.8 * len(words)
        kept = [word for word in words if all(others[word])]
        logits = np.float32(pair.logit_scale) * np.hstack(
            [pictures @ one.matrix.T, pictures @ pair.encode_text(kept).T]
        )
        assert np.allclose(one.probabilities(pictures)[0], softmax(logits)[:, :2], atol=1e-4)

    def test_everyday_things_are_told_by_the_templates_of_the_labels(self, pair: Model) -> None:
        one = Classifier(pair, ["quark"], language="en", templates=["{}", "a {}"])
        assert one.everyday is not None
        word = everyday_words("en")[0]
        expected = unit_rows(pair.encode_text([word, f"a {word}"]).mean(axis=0)[None])[0]
        assert np.allclose(one.everyday.vectors[0], expected, atol=1e-5)

    def test_a_single_label_is_judged_against_everyday_things(self, pair: Model) -> None:
        (prediction,) = Classifier(pair, ["dog"]).predict(vectors(1, pair.dimension))
        assert prediction.ranked[0].score < 1
        assert prediction.none is not None
        assert prediction.none == pytest.approx(1 - prediction.ranked[0].score)
        assert (prediction.label == "dog") == (prediction.none <= 0.5)
        (seen,) = Classifier(pair, ["quark"], templates=["{}"], temperature=0.01).predict(pair.encode_text(["quark"]))
        assert (seen.label, [one.label for one in seen.holding]) == ("quark", ["quark"])
        (tree,) = Classifier(pair, {"animal": {"dog": []}}).predict(vectors(1, pair.dimension))
        assert tree.ranked[0].score < 1

    def test_with_multi_another_label_changes_nothing(self, pair: Model) -> None:
        pictures = vectors(4, pair.dimension)
        few, more = (
            Classifier(pair, labels, language="en", templates=["{}"], multi=True).probabilities(pictures)[0]
            for labels in (["quark", "ball"], ["quark", "ball", "dog"])
        )
        assert np.allclose(few, more[:, :2], atol=1e-5)
        assert not np.allclose(few.sum(axis=1), 1, atol=1e-3)

    def test_with_multi_several_labels_hold_or_none(self, pair: Model) -> None:
        one = Classifier(pair, ["quark", "gluon"], templates=["{}"], multi=True, temperature=0.01)
        both = unit_rows(pair.encode_text(["quark", "gluon"]).mean(axis=0)[None])
        (prediction,) = one.predict(both)
        assert {label.label for label in prediction.holding} == {"quark", "gluon"}
        (nothing,) = one.predict(pair.encode_text([everyday_words("en")[5]]))
        assert nothing.label is None
        assert nothing.holding == ()

    @pytest.mark.parametrize("multi", [False, True])
    def test_in_a_tree_no_label_scores_less_than_one_below_it(self, pair: Model, multi: bool) -> None:
        one = Classifier(pair, TREE, multi=multi)
        pictures = vectors(6, pair.dimension)
        found, _ = one.probabilities(pictures)
        animal, dog, cat, vehicle, car = found.T
        assert (animal >= np.maximum(dog, cat)).all()
        assert (vehicle >= car).all()
        if not multi:
            assert np.allclose(animal + vehicle, 1, atol=1e-5)
            assert (animal > dog + cat).all()

    def test_the_answer_goes_down_a_tree_while_one_below_has_more_than_half(self, pair: Model) -> None:
        one = Classifier(pair, TREE, templates=["{}"], temperature=0.01)
        rows = {"dog": "dog", "animal": "animal", "car": "car"}
        pictures = pair.encode_text(list(rows))
        assert [prediction.label for prediction in one.predict(pictures)] == list(rows.values())
        best = one.predict(pictures)[0].ranked
        assert best[0].label == "animal"
        assert best[1].path == ("animal", "dog")

    def test_a_child_without_its_parent_is_an_error(self, pair: Model) -> None:
        with pytest.raises(InputError, match="stands below 'animal'"):
            Classifier(pair, [Label("dog", ("dog",), ("animal",))])

    def test_labels_are_ranked_and_cut(self, pair: Model) -> None:
        (prediction,) = Classifier(pair, ["a", "b", "c"]).predict(vectors(1, pair.dimension), top=2)
        assert len(prediction.ranked) == 2
        assert prediction.ranked[0].score >= prediction.ranked[1].score
        assert prediction.label == prediction.ranked[0].label

    def test_a_broken_picture_is_reported_in_its_place(self, pair: Model, photos: Path) -> None:
        (photos / "b.png").write_bytes(b"broken")
        files = sorted(photos.glob("*.*"))
        found = list(Classifier(pair, ["dog", "cat"]).stream(files))
        assert [image for image, _ in found] == files
        assert [isinstance(answer, Prediction) for _, answer in found] == [True, False, True]
        with pytest.raises(ImageError, match=r"b\.png"):
            Classifier(pair, ["dog", "cat"]).classify(files)

    def test_one_picture_gives_one_prediction_and_a_list_a_list(self, pair: Model, photos: Path) -> None:
        alone = classify(pair, photos / "a.jpg", ["dog", "cat"])
        assert babelclip.classify(pair, [photos / "a.jpg"], ["dog", "cat"]) == [alone]

    @pytest.mark.parametrize(
        ("labels", "options", "message"),
        [
            (["dog", "\u200b"], {}, r"reads nothing in the label '\\u200b'"),
            (["dog"], {"temperature": 0.0}, "temperature must be over 0"),
            (["dog"], {"temperature": float("nan")}, "temperature must be over 0"),
            (["dog"], {"doubt": 0.6}, "doubt must be between 0 and 0.5"),
            (["dog"], {"doubt": float("nan")}, "doubt must be between 0 and 0.5"),
            ([Label("a", ()), "b"], {}, "no text: 'a'"),
            (["dog"], {"abstain": 1.0}, "between 0 and 1"),
            (["dog"], {"templates": ["no place"]}, "no place"),
            (["dog"], {"templates": []}, "one {} for the name"),
        ],
    )
    def test_what_cannot_be_used_is_an_error(
        self, pair: Model, labels: Sequence[str], options: Mapping[str, Any], message: str
    ) -> None:
        with pytest.raises(InputError, match=message):
            Classifier(pair, labels, **options)

    def test_the_language_is_guessed_from_all_labels_and_chooses_the_templates(self, pair: Model) -> None:
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
    def test_a_few_everyday_words_tell_the_language(self, labels: str, language: str | None) -> None:
        assert language_of(as_labels(labels.split())) == language

    def test_wrong_calls_are_errors(self, pair: Model) -> None:
        one = Classifier(pair, ["dog", "cat"])
        with pytest.raises(InputError, match="as a list"):
            one.classify("a.jpg")
        with pytest.raises(InputError, match="top must be 1"):
            one.predict(vectors(1, pair.dimension), top=0)
        assert one.predict(vectors(1, pair.dimension)[:0]) == []

    def test_the_scale_is_that_of_the_weights(self, pair: Model) -> None:
        assert pair.logit_scale == pytest.approx(np.exp(2.6592), rel=1e-3)
        assert LOGIT_SCALE == 100


class TestCalibration:
    @pytest.mark.parametrize("doubt", [0.0, 0.2])
    def test_the_temperature_and_the_doubt_that_made_the_truth_are_found(self, doubt: float) -> None:
        rng = np.random.default_rng(0)
        logits = 6 * rng.standard_normal((20_000, 6)).astype(np.float32)
        drawn = Calibration(2.5, doubt).probabilities(logits)
        assert np.allclose(drawn, (1 - doubt) * softmax(logits / 2.5) + doubt / 6, atol=1e-6)
        truth = (drawn.cumsum(axis=1) < rng.random((len(drawn), 1))).sum(axis=1).clip(max=5)
        fitted = fit_calibration(logits, truth)
        assert fitted.temperature == pytest.approx(2.5, rel=0.1)
        assert fitted.doubt == pytest.approx(doubt, abs=0.02)
        assert calibration_error(drawn, truth) < 0.01
        assert calibration_error(softmax(logits), truth) > 0.1
        with pytest.raises(InputError, match="at least one"):
            fit_calibration(logits[:0], truth[:0])

    def test_a_few_pictures_that_are_all_right_do_not_bring_certainty(self) -> None:
        logits = np.array([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 2.0]], np.float32)
        fitted = fit_calibration(logits, np.arange(3))
        assert 0.2 < fitted.temperature < 1
        assert fitted.doubt < 0.01

    def test_the_error_is_that_of_a_count_by_hand(self) -> None:
        probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.45, 0.55], [0.3, 0.7]], np.float32)
        truth = np.array([0, 1, 1, 0])
        # bins of a half: (0.55, right) alone is under 0.6; 0.9 is right half of the time; 0.7 is wrong.
        assert calibration_error(probabilities, truth, bins=10) == pytest.approx((0.8 + 0.45 + 0.7) / 4)


class TestExamples:
    def colours(self, folder: Path) -> Path:
        rng = np.random.default_rng(0)
        for name, colour in {"rot": (200, 30, 30), "blau": (30, 30, 200)}.items():
            (folder / name).mkdir(parents=True)
            for number in range(6):
                noise = rng.integers(-25, 25, (64, 64, 3))
                pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / name / f"{number}.png")
        return folder

    def test_examples_teach_what_the_texts_do_not_know(self, pair: Model, tmp_path: Path) -> None:
        one = Classifier(pair, ["rot", "blau"], templates=["{}"])
        before = one.matrix.copy()
        gain = refine(one, read_examples(self.colours(tmp_path / "examples"), ignore))
        assert (gain.examples, gain.classes) == (12, 2)
        # The random towers know nothing of colours' names.
        assert gain.text_accuracy <= 0.5
        assert gain.accuracy == 1.0
        assert gain.weight > 0
        assert not np.allclose(before, one.matrix)
        self.colours(tmp_path / "others")
        found = one.classify([tmp_path / "others" / name / "5.png" for name in ("rot", "blau")])
        assert [prediction.label for prediction in found] == ["rot", "blau"]

    def test_what_has_no_examples_is_mixed_with_the_mean_of_all_prototypes(self, pair: Model, tmp_path: Path) -> None:
        one = Classifier(pair, ["rot", "blau", "third"], templates=["{}"], abstain=0.5)
        assert one.everyday is not None
        examples = read_examples(self.colours(tmp_path), ignore)
        gain = refine(one, examples)
        means = [pair.encode_images(own).mean(axis=0) for own in examples.values()]
        expected = (1 - gain.weight) * one.text_matrix[2] + gain.weight * np.mean(means, axis=0)
        assert np.allclose(one.matrix[2], expected, atol=1e-5)
        refined = one.everyday.vectors
        again = refine(one, examples)
        assert again == gain
        assert np.array_equal(one.everyday.vectors, refined)

    def test_labels_of_one_name_take_examples_by_their_key(self, pair: Model, photos: Path) -> None:
        cranes: list[str | Label] = [
            Label("crane", ("crane",), key="n1"),
            Label("crane", ("crane", "bird"), key="n2"),
            "other",
        ]
        one = Classifier(pair, cranes, templates=["{}"])
        with pytest.raises(InputError, match="name of 2 labels"):
            refine(one, {"crane": [photos / "a.jpg"]})
        assert refine(one, {"n2": [photos / "a.jpg"], "OTHER": [photos / "b.png"]}).classes == 2

    def test_a_single_example_a_label_counts_half_and_nothing_judges_it(self, pair: Model, photos: Path) -> None:
        one = Classifier(pair, ["x", "y"], templates=["{}"])
        pictures = [photos / "a.jpg", photos / "b.png"]
        gain = refine(one, {"x": pictures[:1], "y": pictures[1:]})
        assert (gain.examples, gain.judged, gain.weight) == (2, 0, 0.5)
        assert gain.accuracy is gain.calibration_error is None
        assert np.allclose(one.matrix, (one.text_matrix + pair.encode_images(pictures)) / 2, atol=1e-5)
        assert [prediction.label for prediction in one.classify(pictures)] == ["x", "y"]

    def test_only_labels_with_several_examples_choose_the_weight(self, pair: Model, tmp_path: Path) -> None:
        examples = read_examples(self.colours(tmp_path), ignore)
        gain = refine(Classifier(pair, ["rot", "blau"], templates=["{}"]), {**examples, "rot": examples["rot"][:1]})
        assert (gain.examples, gain.judged) == (7, 6)

    def test_wrong_examples_are_an_error(self, pair: Model, photos: Path, tmp_path: Path) -> None:
        one = Classifier(pair, ["dog", "cat"])
        with pytest.raises(InputError, match="'bird' has examples but is no label"):
            refine(one, {"bird": [photos / "a.jpg"]})
        with pytest.raises(InputError, match="no example pictures"):
            refine(one, {"dog": []})
        with pytest.raises(InputError, match="no such folder"):
            read_examples(tmp_path / "missing", ignore)
        (tmp_path / "empty").mkdir()
        with pytest.raises(InputError, match="holds no folders with photos"):
            read_examples(tmp_path / "empty", ignore)
