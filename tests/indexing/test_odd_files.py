"""Files and folders with names, kinds and contents that a collection should not have, but has."""

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from babelclip.catalog.catalog import Catalog
from babelclip.indexing.indexer import bring_up_to_date
from babelclip.indexing.report import IndexReport
from babelclip.media.archives import file_of, source_of
from babelclip.media.crawl import canonical_path
from babelclip.models.model import Model


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
