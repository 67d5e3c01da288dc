"""Tests of the readers of captions and pictures."""

import gzip
import tarfile
from pathlib import Path

import pytest

from babelclip.errors import DataError
from babelclip.evaluation.captions import Caption, beginning_with, match_pictures, read_captions, read_pictures
from tests.helpers.tar_files import tar_of

HEADER = "image\tlang\tkind\tcaption\n"


def test_captions_are_read_plain_and_gzipped(tmp_path: Path) -> None:
    content = HEADER + 'a\ten\thuman\tA "dog"\na\tde\thuman\tEin Hund\nb\tde\thuman\t\n'
    (tmp_path / "c.tsv").write_text(content)
    (tmp_path / "c.tsv.gz").write_bytes(gzip.compress(content.encode()))
    expected = [Caption("a", "en", 'A "dog"'), Caption("a", "de", "Ein Hund")]
    assert read_captions(tmp_path / "c.tsv") == read_captions(tmp_path / "c.tsv.gz") == expected


@pytest.mark.parametrize("content", [b"a\tb\n", b"", b"\xff\xfe"])
def test_a_table_of_another_format_is_an_error_that_names_it(tmp_path: Path, content: bytes) -> None:
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


@pytest.mark.parametrize("names", [("x.jpg", "x.png"), ("a/x.jpg", "a/x.jpg"), ("./x.jpg", "x.webp")])
def test_two_pictures_with_one_path_are_refused_by_their_names(
    photos: Path, tmp_path: Path, names: tuple[str, str]
) -> None:
    first, second = (name.removeprefix("./") for name in names)
    with pytest.raises(DataError, match=rf"{first} and {second} have the same name"):
        list(read_pictures(tar_of(tmp_path / "p.tar", photos, *names)))


@pytest.mark.parametrize("style", ["{base}", "{base}.jpg", "{base}.PNG", "{path}", "{path}.jpeg", "./{path}.jpg"])
def test_a_table_names_pictures_by_path_or_base_name_with_a_suffix_or_without(style: str) -> None:
    names = ["trip/été 1", "trip/b.c", "鳥"]
    wanted = [style.format(base=name.rsplit("/")[-1], path=name) for name in names]
    assert match_pictures(wanted, names) == dict(zip(wanted, names, strict=True))
    assert match_pictures(["elsewhere", "trip"], names) == {}


@pytest.mark.parametrize("form", ["folder", "tar"])
def test_files_beside_pictures_are_not_pictures(photos: Path, tmp_path: Path, form: str) -> None:
    for name in ("a.txt", "a.json", "b.ogg", "index.tsv", ".b.png", "plain"):
        (photos / name).write_bytes(b"beside")
    (photos / "@eaDir").mkdir()
    (photos / "@eaDir/a.jpg").write_bytes(b"thumbnail")
    source = photos
    if form == "tar":
        source = tmp_path / "p.tar"
        with tarfile.open(source, "w") as archive:
            archive.add(photos, ".")
    assert sorted(name for name, _ in read_pictures(source)) == ["a", "b", "c", "inner/d", "inner/e", "plain"]
