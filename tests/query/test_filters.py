import sqlite3
from collections.abc import Iterator

import pytest

from babelclip.errors import InputError
from babelclip.query.filters import read_filter

PHOTOS = {
    "beach": ("/p/Holiday 2019/beach.jpg", 4_000_000, 4000, 3000, "2019-07-31T18:05:09", "Canon EOS 5D", 1, 3.0),
    "cat": ("/p/home/cat.png", 300_000, 600, 800, "2021-01-01T00:00:00", "NIKON D90", 0, None),
    "bare": ("/p/home/holiday_x/100%.gif", 10, 50, 50, None, None, 0, None),
}
TAGS = {"beach": ["Sea"], "cat": ["cat", "'; DROP TABLE photos;--"]}


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    made = sqlite3.connect(":memory:")
    made.execute(
        "CREATE TABLE contents "
        "(id INTEGER, kind, width, height, taken_at, latitude, longitude, camera, caption, favourite)"
    )
    made.execute("CREATE TABLE photos (path, folder, size, content)")
    made.execute("CREATE TABLE tags (content, tag, source)")
    for i, (name, (path, size, width, height, taken, camera, favourite, latitude)) in enumerate(PHOTOS.items()):
        made.execute(
            "INSERT INTO contents VALUES (?, 'image', ?, ?, ?, ?, 0, ?, NULL, ?)",
            (i, width, height, taken, latitude, camera, favourite),
        )
        made.execute("INSERT INTO photos VALUES (?, ?, ?, ?)", (path, path.rpartition("/")[0], size, i))
        made.executemany("INSERT INTO tags VALUES (?, ?, 'file')", [(i, tag) for tag in TAGS.get(name, [])])
    yield made
    made.close()


def names(db: sqlite3.Connection, text: str) -> set[str]:
    chosen = read_filter(text)
    query = f"SELECT path FROM photos JOIN contents ON contents.id = content WHERE {chosen.condition}"
    paths = {row[0] for row in db.execute(query, chosen.parameters)}
    return {name for name, photo in PHOTOS.items() if photo[0] in paths}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("folder:home", {"cat", "bare"}),
        ("folder:/p/home", {"cat", "bare"}),
        ('folder:"Holiday 2019"', {"beach"}),
        ("folder:holiday_x", {"bare"}),
        ("folder:/", {"beach", "cat", "bare"}),
        ("folder!=/", set()),
        ("folder:hom", set()),
        ("name:100%", {"bare"}),
        ("name:%a%", set()),
        ("camera:canon", {"beach"}),
        ("camera!=canon", {"cat"}),
        ("NOT camera:canon", {"cat", "bare"}),
        ("tag:sea", {"beach"}),
        ('tag:"\'; DROP TABLE photos;--"', {"cat"}),
        ("date<2020-01-01", {"beach"}),
        ("date>2019", {"cat"}),
        ("date:2019-07", {"beach"}),
        ("date>=2019-07-31T18:05", {"beach", "cat"}),
        ("NOT date:2019", {"cat", "bare"}),
        ("width>=600", {"beach", "cat"}),
        ("megapixels>1.5", {"beach"}),
        ("size>1MB", {"beach"}),
        ("size<1k", {"bare"}),
        ("orientation:portrait", {"cat"}),
        ("orientation:square", {"bare"}),
        ("favourite:yes", {"beach"}),
        ("place:known", {"beach"}),
        ("kind:video", set()),
        ("tag:sea OR tag:cat AND width>1000", {"beach"}),
        ("(tag:sea OR tag:cat) AND width<1000", {"cat"}),
        ("not not tag:sea", {"beach"}),
        ("not (tag:sea or tag:cat)", {"bare"}),
        ("not tag:sea and not tag:cat", {"bare"}),
    ],
)
def test_a_filter_lets_through_what_it_says(db: sqlite3.Connection, text: str, expected: set[str]) -> None:
    assert names(db, text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the filter is empty"),
        ("colour:red", "no field 'colour'"),
        ("date<yesterday", "'yesterday' is not a date"),
        ("width>big", "'big' is not a number"),
        ("size>5XB", "'5XB' is not a size"),
        ("size>5k5", "'5k5' is not a size"),
        ("tag<cat", "compared by : or !=, not <"),
        ("orientation:up", "not one of landscape, portrait, square"),
        ("tag:cat AND", "position 12"),
        ("tag:cat tag:dog", "position 9"),
        ("(tag:cat", "position 9"),
        ("tag:" + "a" * 5000, "the limit is 4000"),
    ],
)
def test_an_error_names_what_cannot_be_read(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_filter(text)


def test_as_many_brackets_as_fit_are_read() -> None:
    assert read_filter("(" * 1990 + "tag:a" + ")" * 1990).parameters == ("a",)
