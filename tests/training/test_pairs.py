"""Parallel text in every form, cleaned, capped and parted."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from babelclip.errors import DataError
from babelclip.training.pairs import Corpus, CorpusFile, hold_out, parse_corpus, read_corpora

ROWS = [("a dog", "ein Hund"), ("a cat", "eine Katze")]


def pairs_of(path: Path | str, **settings: object) -> dict[str, list[tuple[str, str]]]:
    corpora = read_corpora(CorpusFile(str(path)), **settings)  # type: ignore[arg-type]
    return {corpus.language: list(zip(corpus.sources, corpus.texts, strict=True)) for corpus in corpora}


def write_tsv(path: Path, rows: Sequence[tuple[str, ...]]) -> Path:
    text = "".join("\t".join(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize("name", ["de.tsv", "de.tsv.gz"])
def test_two_columns_are_read_in_the_language_of_the_file_name(tmp_path: Path, name: str) -> None:
    assert pairs_of(write_tsv(tmp_path / name, ROWS)) == {"de": ROWS}


def test_a_header_of_codes_gives_every_language(tmp_path: Path) -> None:
    rows = [("en", "de", "zh-cn"), ("a dog", "ein Hund", "狗"), ("a cat", "", "猫")]
    found = pairs_of(write_tsv(tmp_path / "all.tsv", rows))
    assert found == {"de": [("a dog", "ein Hund")], "zh-cn": [("a dog", "狗"), ("a cat", "猫")]}


def test_quotes_are_characters_like_any_other(tmp_path: Path) -> None:
    rows = [('say "hi', '"hallo'), ("it's", "es ist's")]
    assert pairs_of(write_tsv(tmp_path / "de.tsv", rows)) == {"de": rows}


def test_numbers_and_empty_words_stay_text(tmp_path: Path) -> None:
    rows = [("1", "01"), ("null", "NULL"), ("true", "wahr")]
    assert pairs_of(write_tsv(tmp_path / "de.tsv", rows)) == {"de": rows}


@pytest.mark.parametrize("nested", [True, False])
def test_json_lines_are_read_with_and_without_a_translation_object(tmp_path: Path, nested: bool) -> None:
    rows = [{"en": source, "de": text} for source, text in ROWS]
    lines = [json.dumps({"translation": row} if nested else row) for row in rows]
    (tmp_path / "x.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert pairs_of(tmp_path / "x.jsonl") == {"de": ROWS}


@pytest.mark.parametrize(
    ("columns", "language"),
    [(("en", "de"), "de"), (("english", "non_english"), "talk"), (("source", "target"), "talk")],
)
def test_parquet_columns_are_known_by_code_or_by_role(tmp_path: Path, columns: tuple[str, str], language: str) -> None:
    left, right = zip(*ROWS, strict=True)
    pq.write_table(pa.table({columns[0]: list(left), columns[1]: list(right)}), tmp_path / "talk.parquet")
    assert pairs_of(tmp_path / "talk.parquet") == {language: ROWS}


def test_a_saved_data_set_is_read(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = [{"translation": {"en": source, "de": text}} for source, text in ROWS]
    datasets.Dataset.from_list(rows).save_to_disk(tmp_path / "saved")
    assert pairs_of(tmp_path / "saved") == {"de": ROWS}


def test_a_folder_has_a_file_a_language_and_can_be_narrowed(tmp_path: Path) -> None:
    write_tsv(tmp_path / "de.tsv", ROWS)
    write_tsv(tmp_path / "fr.tsv", [("a dog", "un chien")])
    assert sorted(pairs_of(tmp_path)) == ["de", "fr"]
    assert sorted(pairs_of(tmp_path, languages=["fr"])) == ["fr"]


def test_empty_long_and_repeated_pairs_are_left_out(tmp_path: Path) -> None:
    rows = [*ROWS, ROWS[0], (" a dog ", "ein Hund "), ("", "leer"), ("long", "x" * 251)]
    assert pairs_of(write_tsv(tmp_path / "de.tsv", rows)) == {"de": ROWS}


def test_a_cap_keeps_the_first(tmp_path: Path) -> None:
    write_tsv(tmp_path / "de.tsv", ROWS)
    (corpus,) = read_corpora(parse_corpus(f"{tmp_path},weight=2,cap=1"))
    assert corpus.sources == ("a dog",)


@pytest.mark.parametrize("setting", ["weight=0", "cap=x", "size=3", "weight"])
def test_an_unknown_or_impossible_setting_is_named(setting: str) -> None:
    with pytest.raises(DataError, match=setting):
        parse_corpus(f"folder,{setting}")


def test_a_missing_path_and_unknown_columns_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing"):
        read_corpora(CorpusFile(str(tmp_path / "nothing.tsv")))
    (tmp_path / "x.jsonl").write_text('{"left": "a", "right": "b"}\n', encoding="utf-8")
    with pytest.raises(DataError, match="left, right"):
        read_corpora(CorpusFile(str(tmp_path / "x.jsonl")))


def test_a_held_out_source_is_trained_on_in_no_language() -> None:
    sources = tuple(f"source {i}" for i in range(300))
    corpora = [
        Corpus("one", "de", sources, tuple(f"de {i}" for i in range(300))),
        Corpus("two", "fr", sources[:50], tuple(f"fr {i}" for i in range(50))),
    ]
    split = hold_out(corpora, 20)
    held = {source for corpus in split.held_out for source in corpus.sources}
    trained = {source for corpus in split.train for source in corpus.sources}
    assert not held & trained
    assert len(held & set(sources)) >= 20
    assert sum(len(c) for c in split.held_out if c.language == "fr") >= 5
    assert sum(map(len, split.train)) + sum(map(len, split.held_out)) == 350
    assert hold_out(corpora, 0).held_out == []
