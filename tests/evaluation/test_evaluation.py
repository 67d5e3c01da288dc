import gzip
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from babelclip.errors import DataError
from babelclip.evaluation.captions import Caption, beginning_with, match_pictures, read_captions, read_pictures
from babelclip.evaluation.classification import (
    NamedPictures,
    area_under_curve,
    embed_named,
    partings,
    read_labelled,
    score_zero_shot,
)
from babelclip.evaluation.report import as_data, as_markdown, plot, summary
from babelclip.evaluation.retrieval import best_ranks, evaluate_retrieval
from babelclip.evaluation.scores import Figure, LanguageScore, Report, figures
from babelclip.evaluation.translation import Pairs, evaluate_translation, read_pairs
from babelclip.models.model import Model
from babelclip.vectors import unit_rows
from babelclip.zeroshot import Classifier
from babelclip.zeroshot.class_names import ClassNames, read_class_names, read_numbered_names

HEADER = "image\tlang\tkind\tcaption\n"


def test_captions_are_read_plain_and_gzipped(tmp_path: Path) -> None:
    content = HEADER + 'a\ten\thuman\tA "dog"\na\tde\thuman\tEin Hund\nb\tde\thuman\t\n'
    (tmp_path / "c.tsv").write_text(content)
    (tmp_path / "c.tsv.gz").write_bytes(gzip.compress(content.encode()))
    expected = [Caption("a", "en", 'A "dog"'), Caption("a", "de", "Ein Hund")]
    assert read_captions(tmp_path / "c.tsv") == read_captions(tmp_path / "c.tsv.gz") == expected


@pytest.mark.parametrize("content", [b"a\tb\n", b"", b"\xff\xfe"])
def test_a_table_of_another_form_is_an_error_that_names_it(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "c.tsv").write_bytes(content)
    with pytest.raises(DataError, match=r"c\.tsv"):
        read_captions(tmp_path / "c.tsv")
    (tmp_path / "c.tsv.gz").write_bytes(b"not gzip")
    with pytest.raises(DataError, match=r"c\.tsv\.gz"):
        read_captions(tmp_path / "c.tsv.gz")


def test_pictures_come_from_a_folder_or_a_tar(photos: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "p.tar", "w") as archive:
        for path in sorted(photos.rglob("*.*")):
            archive.add(path, path.relative_to(photos))
    from_tar = dict(read_pictures(tmp_path / "p.tar"))
    assert from_tar == dict(read_pictures(photos))
    assert sorted(from_tar) == ["a", "b", "c", "inner/d", "inner/e"]
    assert [name for name, _ in beginning_with(from_tar.items(), ("b", "c"))] == ["b", "c"]
    (tmp_path / "bad.tar").write_bytes(b"x" * 1000)
    with pytest.raises(DataError, match=r"bad\.tar"):
        list(read_pictures(tmp_path / "bad.tar"))


def test_the_rank_is_that_of_the_best_right_answer_and_ties_with_wrong_ones_count_against_it() -> None:
    scores = np.array([[0.9, 0.5, 0.1], [0.5, 0.5, 0.1], [0.2, 0.9, 0.8]], dtype=np.float32)
    own = np.array([[1, 0, 0], [1, 0, 0], [1, 0, 1]], dtype=bool)
    assert best_ranks(scores, own).tolist() == [1, 2, 2]


def test_a_figure_is_the_mean_with_an_interval_that_narrows_with_the_sample() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for n in (50, 5000):
        sample = rng.random(n) < 0.3
        figure = figures({"x": sample})["x"]
        assert figure.value == pytest.approx(sample.mean())
        assert figure.low <= figure.value <= figure.high
        assert figure.high - figure.low == pytest.approx(4 * 0.46 / n**0.5, rel=0.25)
        widths.append(figure.high - figure.low)
    assert widths[1] < widths[0] / 5
    assert figures({"x": np.ones(10)})["x"] == Figure(1.0, 1.0, 1.0)


def test_retrieval_figures_are_those_of_a_count_by_hand(pair: Model, photos: Path) -> None:
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


def test_class_names_are_read_in_the_form_of_babel_imagenet(tmp_path: Path) -> None:
    content: dict[str, object] = {
        "DE": [[0, 2], ["Schleie", "Hai"]],
        "ZH": [[1], ["金鱼"]],
        "wnids": ["n1", "n2", "n3"],
    }
    (tmp_path / "names.json.gz").write_bytes(gzip.compress(json.dumps(content).encode()))
    assert read_class_names(tmp_path / "names.json.gz") == [
        ClassNames("de", {"n1": "Schleie", "n3": "Hai"}),
        ClassNames("zh-cn", {"n2": "金鱼"}),
    ]
    content["DE"] = [[2, 0], ["Hai", "Schleie"]]
    (tmp_path / "other.json").write_text(json.dumps(content))
    assert read_numbered_names(tmp_path / "other.json") == (
        ["n1", "n2", "n3"],
        {"de": {0: "Schleie", 2: "Hai"}, "zh-cn": {1: "金鱼"}},
    )
    damaged: tuple[object, ...] = (
        {"DE": [[0], ["x"]]},
        {"DE": [[9], ["x"]], "wnids": ["n1"]},
        {"DE": 3, "wnids": []},
        [],
    )
    for bad in damaged:
        (tmp_path / "bad.json").write_text(json.dumps(bad))
        with pytest.raises(DataError, match=r"bad\.json cannot be read as class names"):
            read_class_names(tmp_path / "bad.json")


def test_zero_shot_is_measured_among_the_named_classes_alone(pair: Model, photos: Path) -> None:
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
    for known in partings(8):
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


def test_every_parting_makes_half_of_the_classes_known_in_a_way_of_its_own() -> None:
    ways = [tuple(known.tolist()) for known in partings(20)]
    assert len(set(ways)) == 5
    assert all(len(set(known)) == 10 and list(known) == sorted(known) for known in ways)
    assert [tuple(known.tolist()) for known in partings(20)] == ways


def test_the_area_is_the_chance_of_being_higher() -> None:
    assert area_under_curve(np.array([3.0, 4.0], np.float32), np.array([1.0, 2.0], np.float32)) == 1
    assert area_under_curve(np.array([1.0, 2.0], np.float32), np.array([1.0, 3.0], np.float32)) == (0.5 + 1) / 4


def test_pairs_come_from_tables_or_parallel_lines(tmp_path: Path) -> None:
    for name in ("tables", "lines", "none"):
        (tmp_path / name).mkdir()
    (tmp_path / "tables/de.tsv.gz").write_bytes(gzip.compress(b"a dog\tein Hund\na cat\teine Katze\n"))
    (tmp_path / "lines/en.txt").write_text("a dog\na cat\n")
    (tmp_path / "lines/de.txt").write_text("ein Hund\neine Katze\n")
    (tmp_path / "lines/image_names.txt").write_text("1\n2\n3\n")
    (tmp_path / "lines/index.tsv").write_text("1\tanimals\tx\n")
    expected = [Pairs("de", ["a dog", "a cat"], ["ein Hund", "eine Katze"])]
    assert list(read_pairs(tmp_path / "tables")) == list(read_pairs(tmp_path / "lines")) == expected
    with pytest.raises(DataError, match="holds neither"):
        list(read_pairs(tmp_path / "none"))
    (tmp_path / "tables/fr.tsv").write_text("one column\n")
    with pytest.raises(DataError, match=r"fr\.tsv: a line does not have two columns"):
        list(read_pairs(tmp_path / "tables"))


def test_translation_counts_both_ways_and_the_same_sentence_twice_is_no_error(pair: Model) -> None:
    english = ["a dog", "two words here", "a dog", "something else"]
    (score,) = evaluate_translation(pair, [Pairs("en", english, english)]).scores
    assert {name: figure.value for name, figure in score.figures.items()} == {"en>xx": 1, "xx>en": 1, "both": 1}
    (score,) = evaluate_translation(pair, [Pairs("xx", english[:2], english[1::-1])]).scores
    assert score.figures["both"].value == 0


def report() -> Report:
    scores = [
        LanguageScore(code, 10, {"R@1": Figure(value / 2, 0, 1), "R@10": Figure(value, 0, 1)})
        for code, value in (("de", 0.4), ("en", 0.8), ("tlh", 0.0))
    ]
    return Report("Retrieval", "7 pictures", tuple(scores))


def test_the_mean_is_over_the_listed_languages_that_are_here() -> None:
    rows = summary(report(), ("de", "en", "fr"))
    assert [row.language for row in rows] == ["en", "mean of 2", "mean of 3"]
    assert rows[1].figures["R@10"].value == pytest.approx(0.6)
    assert [row.language for row in summary(report(), ("de", "en", "tlh"))] == ["en", "mean of 3"]
    with pytest.raises(DataError, match="in any of the languages"):
        report().mean(["xx"])


def test_the_page_and_the_data_hold_every_language() -> None:
    page = as_markdown([report()], ("de", "en"), heading="H", source="S")
    assert page.startswith("# H\n\nS\n")
    assert "| de German | 10 | 0.200 (0.000-1.000) | 0.400 |" in page
    assert page.index("### Other languages") < page.index("| tlh |")
    assert as_data(report(), ("de", "en"))[2] == {
        "evaluation": "Retrieval",
        "subject": "7 pictures",
        "language": "tlh",
        "listed": False,
        "count": 10,
        "R@1": [0.0, 0, 1],
        "R@10": [0.0, 0, 1],
    }


def test_the_plot_is_a_picture_with_a_bar_for_each_listed_language(tmp_path: Path) -> None:
    plot(report(), "R@10", ("de", "en"), tmp_path / "few.png")
    plot(report(), "R@10", ("de",), tmp_path / "fewer.png")
    with Image.open(tmp_path / "few.png") as few, Image.open(tmp_path / "fewer.png") as fewer:
        assert few.height > fewer.height
        assert len(set(few.convert("RGB").get_flattened_data())) > 10


def tar_of(path: Path, photos: Path, *names: str) -> Path:
    """A tar file that has the photos in order under other names."""
    with tarfile.open(path, "w") as archive:
        for name, photo in zip(names, sorted(photos.rglob("*.*")), strict=False):
            archive.add(photo, name)
    return path


def test_two_pictures_with_one_base_name_are_refused_by_their_names(pair: Model, photos: Path, tmp_path: Path) -> None:
    archive = tar_of(tmp_path / "p.tar", photos, "one/x.jpg", "two/x.jpg", "y.jpg")
    with pytest.raises(DataError, match=r"'x' is the name of two pictures, one/x and two/x"):
        evaluate_retrieval(pair, read_pictures(archive), [Caption("x", "en", "a dog")])
    with pytest.raises(DataError, match=r"'x' is the name of two pictures, one/x and two/x"):
        embed_named(pair, read_pictures(archive), {"x": "dog", "y": "cat"})
    rows = [Caption(name, "en", f"a {name}") for name in ("one/x", "two/x.jpg", "y")]
    assert evaluate_retrieval(pair, read_pictures(archive), rows).scores[0].count == 3


@pytest.mark.parametrize("names", [("x.jpg", "x.png"), ("a/x.jpg", "a/x.jpg"), ("./x.jpg", "x.webp")])
def test_two_pictures_with_one_path_are_refused_by_their_names(
    photos: Path, tmp_path: Path, names: tuple[str, str]
) -> None:
    first, second = (name.removeprefix("./") for name in names)
    with pytest.raises(DataError, match=rf"{first} and {second} have one name"):
        list(read_pictures(tar_of(tmp_path / "p.tar", photos, *names)))


@pytest.mark.parametrize("style", ["{base}", "{base}.jpg", "{base}.PNG", "{path}", "{path}.jpeg", "./{path}.jpg"])
def test_a_table_names_pictures_by_path_or_base_name_with_a_suffix_or_without(style: str) -> None:
    names = ["trip/été 1", "trip/b.c", "鳥"]
    wanted = [style.format(base=name.rsplit("/")[-1], path=name) for name in names]
    assert match_pictures(wanted, names) == dict(zip(wanted, names, strict=True))
    assert match_pictures(["elsewhere", "trip"], names) == {}


def test_labels_match_pictures_in_subfolders_and_what_has_no_partner_is_counted(pair: Model, photos: Path) -> None:
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
