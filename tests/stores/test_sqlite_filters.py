"""The SQL of filters, run on an index file that the catalog wrote."""

import sqlite3
import unicodedata
from collections.abc import Iterator
from contextlib import closing
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest

from babelclip.catalog.catalog import Catalog
from babelclip.catalog.records import ContentRecord, Photo
from babelclip.catalog.vector_reader import FINDABLE
from babelclip.media.metadata import Metadata
from babelclip.query.filters import FIELDS, MAX_DEPTH, read_filter
from babelclip.stores.sqlite_filters import compile_filter

DIMENSION = 4
PHOTOS = {
    "beach": (
        "/p/Holiday 2019/beach.jpg",
        4_000_000,
        Metadata(4000, 3000, "2019-07-31T18:05:09", 3.0, 0.0, "Canon EOS 5D", keywords=("Sea",)),
    ),
    "cat": (
        "/p/home/cat.png",
        300_000,
        Metadata(600, 800, "2021-01-01T00:00:00", camera="NIKON D90", keywords=("cat", "'; DROP TABLE photos;--")),
    ),
    "bare": ("/p/home/holiday_x/100%.gif", 10, Metadata(50, 50)),
    "été": (
        f"/{unicodedata.normalize('NFD', 'Été à la mer')}/Île.jpg",
        2000,
        Metadata(300, 200, camera="Цифра 1", caption="Закат НАД Морем", keywords=("Ça", "КОТ")),
    ),
}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    """An index file of the four photos; the first is a favourite."""
    path: Path = tmp_path_factory.mktemp("filters") / "p.bc"
    vector = np.eye(DIMENSION, dtype=np.float32)
    with closing(Catalog(path, model_name="m", fingerprint="f" * 64, dimension=DIMENSION)) as catalog:
        photos, contents = [], []
        for number, (name, size, metadata) in enumerate(PHOTOS.values()):
            photos.append(Photo(name, size, 1, bytes([number]) * 32))
            contents.append(ContentRecord(bytes([number]) * 32, vector[number], metadata=metadata))
        catalog.save(photos, contents)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE contents SET favourite = 1 WHERE width = 4000")
    with closing(Catalog(path, model_name="m", fingerprint="f" * 64, dimension=DIMENSION)) as catalog:
        yield catalog


def names(index: Catalog, text: str) -> set[str]:
    """The photos that a filter matches."""
    condition = compile_filter(read_filter(text))
    rows = index.connection.rows(f"SELECT path FROM {FINDABLE} WHERE {condition.sql}", condition.parameters)
    by_path = {path: name for name, (path, _, _) in PHOTOS.items()}
    return {by_path[path] for (path,) in rows}


EVERY = set(PHOTOS)
ASCII = [
    ("folder:home", {"cat", "bare"}),
    ("folder:/p/home", {"cat", "bare"}),
    ('folder:"Holiday 2019"', {"beach"}),
    ("folder:holiday_x", {"bare"}),
    ("folder:/", EVERY),
    ("folder!=/", set()),
    ("folder:hom", set()),
    ("name:100%", {"bare"}),
    ("name:%a%", set()),
    ("camera:canon", {"beach"}),
    ("camera!=canon", {"cat", "été"}),
    ("NOT camera:canon", {"cat", "bare", "été"}),
    ("tag:sea", {"beach"}),
    ('tag:"\'; DROP TABLE photos;--"', {"cat"}),
    ("date<2020-01-01", {"beach"}),
    ("date>2019", {"cat"}),
    ("date:2019-07", {"beach"}),
    ("date>=2019-07-31T18:05", {"beach", "cat"}),
    ("NOT date:2019", {"cat", "bare", "été"}),
    ("width>=600", {"beach", "cat"}),
    ("height:50", {"bare"}),
    ("megapixels>1.5", {"beach"}),
    ("size>1MB", {"beach"}),
    ("size<1k", {"bare"}),
    ("orientation:portrait", {"cat"}),
    ("orientation:square", {"bare"}),
    ("orientation!=square", {"beach", "cat", "été"}),
    ("favourite:yes", {"beach"}),
    ("favourite!=yes", {"cat", "bare", "été"}),
    ("place:known", {"beach"}),
    ("place:unknown", {"cat", "bare", "été"}),
    ("kind:video", set()),
    ("kind:image", EVERY),
    ("tag:sea OR tag:cat AND width>1000", {"beach"}),
    ("(tag:sea OR tag:cat) AND width<1000", {"cat"}),
    ("not not tag:sea", {"beach"}),
    ("not (tag:sea or tag:cat)", {"bare", "été"}),
    ("not tag:sea and not tag:cat", {"bare", "été"}),
]
OTHER_SCRIPTS = [
    ('folder:"ÉTÉ À LA MER"', {"été"}),
    ('folder:"/été à la mer"', {"été"}),
    ('folder:"/à la mer"', set()),
    ('folder:"été à"', set()),
    ('folder!="été à la mer"', {"beach", "cat", "bare"}),
    ("name:île", {"été"}),
    ("name!=ÎLE", {"beach", "cat", "bare"}),
    ("camera:ЦИФРА", {"été"}),
    ("camera!=ЦИФРА", {"beach", "cat"}),
    ("NOT camera:цифра", {"beach", "cat", "bare"}),
    ("caption:над", {"été"}),
    ("caption:надо", set()),
    ("tag:ÇA", {"été"}),
    ("tag:кот", {"été"}),
    ("tag!=кот", {"beach", "cat", "bare"}),
    ("tag:ко", set()),
]


@pytest.mark.parametrize(("text", "expected"), ASCII)
def test_the_sql_of_a_filter_matches_the_photos_it_describes(index: Catalog, text: str, expected: set[str]) -> None:
    assert names(index, text) == expected


@pytest.mark.parametrize(("text", "expected"), OTHER_SCRIPTS)
def test_case_and_accents_of_every_script_are_ignored_as_in_ascii(
    index: Catalog, text: str, expected: set[str]
) -> None:
    assert not text.isascii()
    assert names(index, text) == expected


@pytest.mark.parametrize("text", [text for text, _ in ASCII + OTHER_SCRIPTS])
def test_a_condition_and_its_negation_divide_the_photos(index: Catalog, text: str) -> None:
    assert names(index, f"NOT ({text})") == EVERY - names(index, text)


def test_nothing_that_was_written_becomes_part_of_the_sql() -> None:
    words = {"folder": "wörd", "name": "word", "camera": "wörd", "caption": "word", "tag": "wörd", "date": "2033"}
    for field, word in words.items():
        condition = compile_filter(read_filter(f"{field}:{word}"))
        assert word not in condition.sql
        assert any(word in str(parameter) for parameter in condition.parameters)


@pytest.mark.parametrize("operators", [("AND", "OR"), ("AND", "NOT", "OR"), ("OR", "NOT")])
def test_a_filter_as_deep_as_the_language_allows_fits_sqlites_parser(
    index: Catalog, operators: tuple[str, ...]
) -> None:
    text = "tag:sea"
    for level in range(MAX_DEPTH):
        operator = operators[level % len(operators)]
        text = f"NOT ({text})" if operator == "NOT" else f"folder:mér {operator} ({text})"
    assert names(index, text) <= EVERY
    matched = index.vectors.locations([1], *astuple(compile_filter(read_filter(text))))
    assert set(matched) <= {1}


def test_every_field_can_be_compiled(index: Catalog) -> None:
    values = {"date": "2020", "orientation": "square", "kind": "video", "favourite": "yes", "place": "known"}
    matched = {field: names(index, f"{field}:{values.get(field, '1')}") for field in FIELDS}
    assert matched.keys() == FIELDS.keys()
    assert matched["place"] == {"beach"}
