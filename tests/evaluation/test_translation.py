"""Tests of the evaluation of translation."""

import gzip
from pathlib import Path

import pytest

from babelclip.errors import DataError
from babelclip.evaluation.translation import Pairs, evaluate_translation, read_pairs
from babelclip.models.model import Model


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


def test_translation_counts_both_directions_and_repeated_sentences_as_correct(pair: Model) -> None:
    english = ["a dog", "two words here", "a dog", "something else"]
    (score,) = evaluate_translation(pair, [Pairs("en", english, english)]).scores
    assert {name: figure.value for name, figure in score.figures.items()} == {"en>xx": 1, "xx>en": 1, "both": 1}
    (score,) = evaluate_translation(pair, [Pairs("xx", english[:2], english[1::-1])]).scores
    assert score.figures["both"].value == 0
