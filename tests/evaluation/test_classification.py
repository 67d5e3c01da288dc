"""Tests of the evaluation of zero-shot classification."""

from pathlib import Path

import numpy as np
import pytest

from babelclip.errors import DataError
from babelclip.evaluation.classification import (
    NamedPictures,
    area_under_curve,
    class_splits,
    embed_named,
    read_labelled,
    score_zero_shot,
)
from babelclip.evaluation.report import as_markdown
from babelclip.models.model import Model
from babelclip.vectors import unit_rows
from babelclip.zeroshot import Classifier
from babelclip.zeroshot.class_names import ClassNames

HEADER = "image\tlang\tkind\tcaption\n"


def test_zero_shot_is_measured_among_the_named_classes_only(pair: Model, photos: Path) -> None:
    pictures = [(path.stem, path.read_bytes()) for path in sorted(photos.rglob("*.*"))]
    names = {"a": "one", "b": "two", "d": "three", "missing": "four"}
    named = embed_named(pair, pictures)
    classes = [ClassNames("en", names), ClassNames("de", {"zzz": "nichts"})]
    told: list[str] = []
    (report,) = score_zero_shot(pair, named, classes, templates=True, progress=told.append)
    assert told == ["en", "de"]
    (score,) = report.scores
    vectors = pair.encode_images([content for name, content in pictures if name in names])
    guesses = (vectors @ pair.encode_text(list(names.values())).T).argmax(axis=1)
    assert score.count == 3
    assert score.figures["top-1"].value == pytest.approx(np.mean(guesses == np.arange(3)))
    assert score.figures["top-5"].value == 1
    with pytest.raises(DataError, match="no picture is of a class"):
        score_zero_shot(pair, named, classes[1:])


def test_labels_of_a_caption_table_name_the_classes_of_its_pictures(pair: Model, photos: Path, tmp_path: Path) -> None:
    rows = "".join(f"{name}\ten\tlabel\t{label}\n" for name, label in (("a", "dog"), ("b", "cat"), ("c", "dog")))
    (tmp_path / "labels.tsv").write_text(HEADER + rows + "a\tde\tlabel\tHund\n")
    class_of, classes = read_labelled(tmp_path / "labels.tsv")
    assert class_of == {"a": "dog", "b": "cat", "c": "dog"}
    assert classes == [ClassNames("de", {"dog": "Hund"}), ClassNames("en", {"dog": "dog", "cat": "cat"})]
    pictures = [(path.stem, path.read_bytes()) for path in sorted(photos.rglob("*.*"))]
    named = embed_named(pair, pictures, class_of)
    assert named.classes == ["dog", "cat", "dog"]
    (report,) = score_zero_shot(pair, named, classes[1:])
    (score,) = report.scores
    right = (named.vectors @ pair.encode_text(["dog", "cat"]).T).argmax(axis=1) == np.array([0, 1, 0])
    assert score.figures["top-1"].value == pytest.approx(right.mean())
    assert score.figures["class mean"].value == pytest.approx((right[[0, 2]].mean() + right[1]) / 2)


def test_calibration_and_abstention_are_measured_by_language(pair: Model) -> None:
    rng = np.random.default_rng(0)
    names = {f"n{i}": f"name {i}" for i in range(8)}
    truth = rng.integers(0, 8, 2000)
    text = pair.encode_text(list(names.values()))
    noise = 0.2 * rng.standard_normal((2000, pair.dimension)).astype(np.float32)
    named = NamedPictures([f"n{i}" for i in truth], unit_rows(text[truth] + noise), [])
    accuracy, calibration, abstention = score_zero_shot(
        pair, named, [ClassNames("en", names)], calibration=True, abstention=True
    )
    assert accuracy.scores[0].count == 2000
    (score,) = calibration.scores
    assert score.count == 1000
    # The pictures are made by chance around the names, so a fit can come as near as chance alone.
    perfect = score.figures["ECE if perfect"]
    assert 0 < perfect.low < perfect.value < perfect.high < 0.1
    assert score.figures["ECE"].value < min(2 * perfect.value, score.figures["ECE unfitted"].value)
    (score,) = abstention.scores
    assert score.count == 2000
    # The pictures were made of the names of the classes that are left out; everyday words know nothing of them.
    assert 0 <= score.figures["AUC"].value < score.figures["AUC if named"].value
    probabilities = Classifier(pair, list(names.values()), language="en").probabilities(named.vectors)[0]
    by_hand = []
    for known in class_splits(8):
        inside, none = np.isin(truth, known), 1 - probabilities[:, known].sum(axis=1)
        by_hand.append((none[~inside][:, None] > none[inside]).mean())
    assert score.figures["AUC if named"].value == pytest.approx(np.mean(by_hand), abs=1e-3)


def test_a_language_with_pictures_of_one_class_has_no_figure_for_abstention(pair: Model) -> None:
    pictures = unit_rows(np.random.default_rng(0).standard_normal((8, pair.dimension)).astype(np.float32))
    named = NamedPictures(["n0"] * 4 + ["n1"] * 4, pictures, [])
    classes = [ClassNames("en", {"n0": "dog", "n1": "cat"}), ClassNames("de", {"n0": "Hund"})]
    accuracy, abstention = score_zero_shot(pair, named, classes, abstention=True)
    assert [score.language for score in accuracy.scores] == ["en", "de"]
    assert [score.language for score in abstention.scores] == ["en"]


def test_every_split_makes_another_half_of_the_classes_known() -> None:
    splits = [tuple(known.tolist()) for known in class_splits(20)]
    assert len(set(splits)) == 5
    assert all(len(set(known)) == 10 and list(known) == sorted(known) for known in splits)
    assert [tuple(known.tolist()) for known in class_splits(20)] == splits


def test_the_area_under_the_curve_is_the_probability_of_a_higher_score() -> None:
    assert area_under_curve(np.array([3.0, 4.0], np.float32), np.array([1.0, 2.0], np.float32)) == 1
    assert area_under_curve(np.array([1.0, 2.0], np.float32), np.array([1.0, 3.0], np.float32)) == (0.5 + 1) / 4


def test_labels_match_pictures_in_subfolders_and_unmatched_ones_are_counted(pair: Model, photos: Path) -> None:
    pictures = [(name, path.read_bytes()) for name, path in zip("abcd", sorted(photos.rglob("*.*")), strict=False)]
    pictures[0] = ("deep/down/a", pictures[0][1])
    named = embed_named(pair, pictures, {"a.jpg": "dog", "b": "cat", "z": "owl"})
    assert named.classes == ["dog", "cat"]
    assert named.notes == (
        "2 pictures have no label and were not counted",
        "1 of 3 labels have no picture here",
    )
    report, *_ = score_zero_shot(pair, named, [ClassNames("en", {"dog": "dog", "cat": "cat"})])
    assert report.notes == named.notes
    assert "1 of 3 labels have no picture here" in as_markdown([report], ["en"], heading="h", source="s")
