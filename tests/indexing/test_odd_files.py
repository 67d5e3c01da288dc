"""Files and folders with names, kinds and contents that a collection should not have, but has."""

import io
import os
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from babelclip.catalog.catalog import Catalog
from babelclip.errors import ImageError, ImageTooLargeError
from babelclip.indexing.indexer import bring_up_to_date
from babelclip.indexing.report import IndexReport
from babelclip.media.archives import archive_of, file_of, members, source_of
from babelclip.media.crawl import canonical_path
from babelclip.media.images import read_image, register_formats
from babelclip.media.video import frames
from babelclip.models.model import Model
from babelclip.settings import settings
from tests.helpers.media_files import make_video


@pytest.fixture
def catalog(tmp_path: Path, pair: Model) -> Iterator[Catalog]:
    catalog = Catalog(tmp_path / "p.bc", model_name=pair.name, fingerprint=pair.fingerprint, dimension=pair.dimension)
    yield catalog
    catalog.close()


def test_a_folder_may_be_called_like_an_archive_that_is_gone_into(catalog: Catalog, pair: Model, photos: Path) -> None:
    (photos / "inner").rename(photos / "Wow!")
    (photos / "Wow").mkdir()
    (photos / "c.webp").rename(photos / "Wow/c.webp")
    with zipfile.ZipFile(photos / "Wow!/in.zip", "w") as out:
        out.write(photos / "a.jpg", "x/f.jpg")
        (photos / "a.jpg").unlink()
    assert bring_up_to_date(catalog, pair, photos).added == 5
    assert bring_up_to_date(catalog, pair, photos) == IndexReport(unchanged=5)
    assert catalog.photos.paths_below(str(photos / "Wow")) == [str(photos / "Wow/c.webp")]
    member = f"{photos}/Wow!/in.zip!/x/f.jpg"
    assert isinstance(source_of(member), bytes)
    assert file_of(member) == photos / "Wow!/in.zip"
    (photos / "Wow!/d.jpeg").unlink()
    assert bring_up_to_date(catalog, pair, photos).removed == 1
    (photos / "Wow!/in.zip").unlink()
    assert bring_up_to_date(catalog, pair, photos).removed == 1


def test_a_folder_is_the_same_by_whatever_way_it_is_named(
    catalog: Catalog, pair: Model, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring_up_to_date(catalog, pair, photos)
    monkeypatch.chdir(photos / "inner")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("..", "../../photos", str(photos / "inner/.."), "~/photos", "~/photos/inner/../."):
        assert bring_up_to_date(catalog, pair, Path(name)) == IndexReport(unchanged=5)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/link").symlink_to(photos / "inner")
    assert canonical_path(tmp_path / "other/link/../a.jpg") == photos / "a.jpg"
    assert canonical_path(tmp_path / "other/link") == tmp_path / "other/link"


def test_the_archive_in_a_path_is_told_by_its_name() -> None:
    assert archive_of("/x/Wow!/a.zip!/b.tar!/c.jpg") == "/x/Wow!/a.zip"
    assert archive_of("/x/Wow!/a.jpg") is None
    assert archive_of("/x/a.zip") is None


@pytest.mark.parametrize("name", ["p.jpg", "p.mp4", "p.zip"])
def test_a_pipe_is_reported_and_not_waited_for(name: str, catalog: Catalog, pair: Model, photos: Path) -> None:
    os.mkfifo(photos / name)
    os.mkfifo(photos / "a.jpg.xmp")
    report = bring_up_to_date(catalog, pair, photos)
    assert report.added == 5
    assert report.failed == [(str(photos / name), "not a plain file, but a pipe, a socket or a device")]


def test_a_copy_of_what_cannot_be_read_is_reported_as_such(catalog: Catalog, pair: Model, photos: Path) -> None:
    for name in ("x.jpg", "y.jpg"):
        (photos / name).write_bytes(b"no picture")
        report = bring_up_to_date(catalog, pair, photos)
        assert [Path(path).name for path, _ in report.failed] == [name]
        assert report.known_content == 0


def test_members_are_read_back_by_their_paths_and_the_last_of_a_name_counts(tmp_path: Path, photos: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        for i, name in enumerate(("./a.jpg", "/b.jpg", "c.jpg", "c.JPG")):
            packed.writestr(name, bytes([i]))
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for i, name in enumerate(("./a.jpg", "b.jpg", "b.jpg")):
            entry = tarfile.TarInfo(name)
            entry.size = 1
            tar.addfile(entry, io.BytesIO(bytes([i])))
    paths = [member.path for member in members(str(tmp_path / "x.zip"))]
    assert [source_of(path) for path in paths] == [b"\0", b"\1", b"\2", b"\3"]
    paths = [member.path for member in members(str(tmp_path / "x.tar"))]
    assert [source_of(path) for path in paths] == [b"\0", b"\2", b"\2"]


def test_the_limit_of_pixels_may_be_above_pillows(monkeypatch: pytest.MonkeyPatch) -> None:
    content = io.BytesIO()
    Image.new("1", (1000, 100)).save(content, "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    for limit in (90_000, 100_000):
        monkeypatch.setenv("BABELCLIP_MAX_IMAGE_PIXELS", str(limit))
        settings.cache_clear()
        register_formats.cache_clear()
        if limit < 100_000:
            with pytest.raises(ImageTooLargeError, match="over the limit of 90000; BABELCLIP_MAX_IMAGE_PIXELS"):
                read_image(content.getvalue())
        else:
            assert read_image(content.getvalue()).size == (1000, 100)


def test_pillows_own_refusal_names_our_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    content = io.BytesIO()
    Image.new("1", (1000, 100)).save(content, "PNG")
    register_formats()
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    with pytest.raises(ImageTooLargeError, match=r"100000 pixels, over the limit of 178000000; BABELCLIP_MAX"):
        read_image(content.getvalue())


def test_a_video_without_pictures_or_sense_is_named_once(tmp_path: Path) -> None:
    make_video(tmp_path / "v.mp4", seconds=1)
    (tmp_path / "cut.mp4").write_bytes((tmp_path / "v.mp4").read_bytes()[:300])
    with pytest.raises(ImageError) as error:
        list(frames(str(tmp_path / "cut.mp4")))
    assert (
        str(error.value)
        == f"{tmp_path}/cut.mp4: not a video that can be read: Invalid data found when processing input"
    )
