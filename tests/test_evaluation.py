import gzip
import tarfile
from pathlib import Path

import numpy as np
import pytest

from babelclip.errors import DataError
from babelclip.evaluation.captions import Caption, beginning_with, read_captions, read_pictures
from babelclip.evaluation.report import as_data, as_markdown, summary
from babelclip.evaluation.retrieval import RetrievalReport, RetrievalScore, evaluate_retrieval, ranks
from babelclip.model import Model
from babelclip.vectors import unit_rows

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
        for path in sorted(photos.glob("*.*")):
            archive.add(path, path.name)
    from_tar = dict(read_pictures(tmp_path / "p.tar"))
    assert from_tar == dict(read_pictures(photos))
    assert sorted(from_tar) == ["a", "b", "c"]
    assert [name for name, _ in beginning_with(from_tar.items(), ("b", "c"))] == ["b", "c"]
    (tmp_path / "bad.tar").write_bytes(b"x" * 1000)
    with pytest.raises(DataError, match=r"bad\.tar"):
        list(read_pictures(tmp_path / "bad.tar"))


def test_the_rank_of_the_right_picture_counts_ties_against_it() -> None:
    pictures = unit_rows(np.array([[1, 0], [1, 1], [0, 1], [0, 1]], dtype=np.float32))
    queries = unit_rows(np.array([[1, 0], [1, 0.1], [0, 1]], dtype=np.float32))
    assert ranks(queries, pictures, np.array([0, 1, 2])).tolist() == [1, 2, 2]


def test_figures_are_those_of_a_count_by_hand(pair: Model, photos: Path) -> None:
    files = sorted(photos.rglob("*.*"))
    pictures = [(path.stem, path.read_bytes()) for path in files] + [
        ("broken", b"no picture"),
        ("f", files[0].read_bytes()),
    ]
    captions = [Caption(path.stem, "en", f"text {path.stem}") for path in files] + [Caption("elsewhere", "de", "x")]
    report = evaluate_retrieval(pair, pictures, captions)
    assert report.pictures == 6
    assert [name for name, _ in report.failed] == ["broken"]
    vectors = pair.encode_images([content for name, content in pictures if name != "broken"])
    scores = pair.encode_text([caption.text for caption in captions[:5]]) @ vectors.T
    placed = [(scores[i] >= scores[i, i]).sum() for i in range(5)]
    (score,) = report.scores
    assert score.queries == 5
    assert score.recall[1] == pytest.approx(np.mean(np.array(placed) <= 1))
    assert score.recall[10] == 1
    assert score.mean_reciprocal_rank == pytest.approx(np.mean(1 / np.array(placed)))


def test_captions_without_pictures_are_an_error(pair: Model) -> None:
    with pytest.raises(DataError, match="no caption names a picture"):
        evaluate_retrieval(pair, [], [Caption("a", "en", "x")])


def report() -> RetrievalReport:
    scores = [
        RetrievalScore(code, 10, {1: value / 2, 5: value, 10: value}, value)
        for code, value in (("de", 0.4), ("en", 0.8), ("tlh", 0.0))
    ]
    return RetrievalReport(7, tuple(scores), ())


def test_the_mean_is_over_the_listed_languages_that_are_here() -> None:
    rows = summary(report(), ("de", "en", "fr"))
    assert [row.language for row in rows] == ["en", "mean of 2", "mean of 3"]
    assert rows[1].recall[10] == pytest.approx(0.6)


def test_a_mean_of_nothing_is_an_error() -> None:
    with pytest.raises(DataError, match="no caption is in any of the languages"):
        report().mean(["xx"])


def test_the_page_and_the_data_hold_every_language() -> None:
    page = as_markdown(report(), ("de", "en"), heading="H", source="S")
    assert "| de German | 10 | 0.200 | 0.400 | 0.400 | 0.400 |" in page
    assert page.index("## Other languages") < page.index("| tlh |")
    rows = as_data(report(), ("de", "en"))
    assert rows[2] == {
        "language": "tlh",
        "listed": False,
        "queries": 10,
        "pictures": 7,
        "recall@1": 0.0,
        "recall@5": 0.0,
        "recall@10": 0.0,
        "mrr": 0.0,
    }
    assert page.startswith("# H\n\nS\n")
