"""Tests of the evaluation of retrieval."""

from pathlib import Path

import numpy as np
import pytest

from babelclip.errors import DataError
from babelclip.evaluation.captions import Caption, read_pictures
from babelclip.evaluation.classification import (
    embed_named,
)
from babelclip.evaluation.retrieval import best_ranks, evaluate_retrieval
from babelclip.models.model import Model
from tests.helpers.tar_files import tar_of


def test_the_rank_is_that_of_the_best_correct_answer_behind_ties() -> None:
    scores = np.array([[0.9, 0.5, 0.1], [0.5, 0.5, 0.1], [0.2, 0.9, 0.8]], dtype=np.float32)
    own = np.array([[1, 0, 0], [1, 0, 0], [1, 0, 1]], dtype=bool)
    assert best_ranks(scores, own).tolist() == [1, 2, 2]


def test_retrieval_figures_equal_manual_counts(pair: Model, photos: Path) -> None:
    files = sorted(photos.rglob("*.*"))
    pictures = [(path.stem, path.read_bytes()) for path in files]
    pictures += [("broken", b"no picture"), ("f", files[0].read_bytes())]
    captions = [Caption(path.stem, "en", f"text {path.stem} {i}") for path in files for i in range(2)]
    report = evaluate_retrieval(pair, pictures, [*captions, Caption("elsewhere", "de", "x")])
    assert report.subject == "6 pictures"
    assert report.notes == (
        "1 of 11 captions have no picture here and were not counted",
        "1 of 6 pictures have no caption; they are wrong answers only",
    )
    assert [name for name, _ in report.failed] == ["broken"]
    vectors = pair.encode_images([content for name, content in pictures if name != "broken"])
    scores = pair.encode_text([caption.text for caption in captions]) @ vectors.T
    (score,) = report.scores
    there = np.array([1 + (np.delete(scores[i], i // 2) >= scores[i, i // 2]).sum() for i in range(10)])
    back = []
    for column in range(5):
        own = scores[2 * column : 2 * column + 2, column].max()
        back.append(1 + (np.delete(scores[:, column], [2 * column, 2 * column + 1]) >= own).sum())
    assert score.count == 10
    assert score.figures["T>I R@1"].value == pytest.approx((there <= 1).mean())
    assert score.figures["T>I R@10"].value == 1
    assert score.figures["T>I MRR"].value == pytest.approx((1 / there).mean())
    assert score.figures["I>T R@1"].value == pytest.approx((np.array(back) <= 1).mean())
    assert score.figures["I>T MRR"].value == pytest.approx((1 / np.array(back)).mean())


def test_captions_without_pictures_are_an_error(pair: Model) -> None:
    with pytest.raises(DataError, match="no caption names a picture"):
        evaluate_retrieval(pair, [], [Caption("a", "en", "x")])


def test_two_pictures_with_one_base_name_are_refused_by_their_names(pair: Model, photos: Path, tmp_path: Path) -> None:
    archive = tar_of(tmp_path / "p.tar", photos, "one/x.jpg", "two/x.jpg", "y.jpg")
    with pytest.raises(DataError, match=r"'x' is the name of two pictures, one/x and two/x"):
        evaluate_retrieval(pair, read_pictures(archive), [Caption("x", "en", "a dog")])
    with pytest.raises(DataError, match=r"'x' is the name of two pictures, one/x and two/x"):
        embed_named(pair, read_pictures(archive), {"x": "dog", "y": "cat"})
    rows = [Caption(name, "en", f"a {name}") for name in ("one/x", "two/x.jpg", "y")]
    assert evaluate_retrieval(pair, read_pictures(archive), rows).scores[0].count == 3
