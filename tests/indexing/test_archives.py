"""Photos in archives: found, followed, reported."""

import errno
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from babelclip.indexing import indexer
from babelclip.indexing.report import IndexReport
from babelclip.media.archives import ArchiveMember, members
from babelclip.models.model import Model
from tests.helpers.media_files import tarred, zipped
from tests.helpers.updating import Update


@pytest.mark.parametrize("name", ["shard.zip", "shard.tar", "shard.tar.gz"])
def test_photos_in_archives_have_the_vectors_of_the_files(
    name: str, update: Update, photos: Path, tmp_path: Path, pair: Model
) -> None:
    folder = tmp_path / "archives"
    folder.mkdir()
    (zipped if name.endswith("zip") else tarred)(folder / name, photos)
    report = update(folder)
    assert (report.added, report.failed) == (5, [])
    paths, vectors = update.catalog.vectors.all()
    assert paths[0] == f"{folder}/{name}!/trip/a.jpg"
    np.testing.assert_allclose(vectors[0], pair.encode(photos / "a.jpg"), atol=2e-3)
    assert update(folder) == IndexReport(unchanged=5)
    assert update().known_content == 5
    (folder / name).unlink()
    assert update(folder).removed == 5
    (zipped if name.endswith("zip") else tarred)(folder / name, photos)
    assert update(folder).known_content == 5


def test_an_archive_that_changes_is_read_again_and_only_what_is_new_is_encoded(update: Update, photos: Path) -> None:
    archive = photos / "more.zip"
    zipped(archive, photos)
    update()
    new = io.BytesIO()
    Image.new("RGB", (30, 40), "red").save(new, "PNG")
    with zipfile.ZipFile(archive, "w") as out:
        out.write(photos / "a.jpg", "a.jpg")
        out.writestr("red.png", new.getvalue())
        out.writestr("bad.png", b"no picture")
    report = update(archive)
    assert (report.added, report.known_content, report.removed) == (1, 1, 5)
    assert [path for path, _ in report.failed] == [f"{archive}!/bad.png"]
    assert [path for path in update.names() if "!" in path] == ["more.zip!/a.jpg", "more.zip!/red.png"]


def test_a_damaged_archive_gives_what_comes_before_and_is_reported(update: Update, photos: Path) -> None:
    tarred(photos / "x.tar.gz", photos)
    whole = (photos / "x.tar.gz").read_bytes()
    tarred(photos / "y.tar", photos)
    cut = (photos / "y.tar").read_bytes()[:1000]
    (photos / "x.tar.gz").write_bytes(whole[: len(whole) // 2])
    (photos / "y.tar").write_bytes(cut)
    (photos / "z.zip").write_bytes(b"no archive")
    report = update()
    failed = {Path(path).name for path, _ in report.failed}
    assert {"x.tar.gz", "y.tar", "z.zip"} <= failed
    assert report.added == 5
    tarred(photos / "x.tar.gz", photos)
    assert update(photos / "x.tar.gz").failed == []


def test_a_damaged_archive_is_read_once_and_again_when_it_changes(
    update: Update, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def noted(archive: str) -> Iterator[ArchiveMember]:
        opened.append(Path(archive).name)
        return members(archive)

    monkeypatch.setattr(indexer, "members", noted)
    tarred(photos / "x.tar.gz", photos)
    (photos / "x.tar.gz").write_bytes((photos / "x.tar.gz").read_bytes()[:-200])
    zipped(photos / "y.zip", photos)
    stored = (photos / "b.png").read_bytes()
    with zipfile.ZipFile(photos / "y.zip", "a") as out:
        out.writestr("bad.png", stored[:50])
    spoilt = (photos / "y.zip").read_bytes().replace(stored[:50], b"?" * 50)
    (photos / "y.zip").write_bytes(spoilt)
    first = update()
    assert opened == ["x.tar.gz", "y.zip"]
    names = {Path(path).name for path, _ in first.failed}
    assert "x.tar.gz" in names
    assert "bad.png" in names
    again = update()
    assert opened == ["x.tar.gz", "y.zip"]
    assert (again.failed, again.added, again.removed) == ([], 0, 0)
    assert names <= {Path(path).name for path, _ in update.catalog.photos.failures()}
    tarred(photos / "x.tar.gz", photos)
    assert update().failed == []
    assert opened == ["x.tar.gz", "y.zip", "x.tar.gz"]
    assert "x.tar.gz" not in {Path(path).name for path, _ in update.catalog.photos.failures()}


def test_an_archive_that_may_not_be_read_now_is_tried_again(
    update: Update, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zipped(photos / "y.zip", photos)

    def refused(*_: object) -> zipfile.ZipFile:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as locked:
        locked.setattr(zipfile, "ZipFile", refused)
        assert [Path(path).name for path, _ in update().failed] == ["y.zip"]
    report = update()
    assert (report.failed, report.known_content) == ([], 5)
