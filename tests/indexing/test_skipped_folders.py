import shutil
import tarfile
import threading
import zipfile
from pathlib import Path

import pytest

from babelclip.indexing.indexer import bring_up_to_date
from babelclip.indexing.watch import follow
from babelclip.media.path_rules import PathRules
from babelclip.models.model import Model
from tests.helpers.updating import Update


def copy_into(photos: Path, *folders: str) -> None:
    for folder in folders:
        (photos / folder).mkdir(parents=True)
        shutil.copy(photos / "a.jpg", photos / folder / "other.jpg")


def test_bins_and_thumbnails_are_passed_over_and_counted(update: Update, photos: Path) -> None:
    copy_into(photos, "#recycle", "inner/@eaDir/d.jpeg", "$RECYCLE.BIN/S-1-5", ".hidden")
    report = update()
    assert update.names() == ["a.jpg", "b.png", "c.webp", "inner/d.jpeg", "inner/e.gif"]
    assert sorted(report.skipped) == [
        (str(photos / "#recycle"), "system", 1),
        (str(photos / "$RECYCLE.BIN"), "system", 1),
        (str(photos / "inner/@eaDir"), "system", 1),
    ]


def test_they_are_read_on_request_and_leave_when_it_is_gone(update: Update, photos: Path, pair: Model) -> None:
    copy_into(photos, "#recycle")
    bring_up_to_date(update.catalog, pair, photos, rules=PathRules(include_system=True))
    assert "#recycle/other.jpg" in update.names()
    report = update()
    assert report.removed == 1
    assert "#recycle/other.jpg" not in update.names()


def test_a_bin_that_is_named_itself_is_read(update: Update, photos: Path) -> None:
    copy_into(photos, "#recycle")
    update(photos / "#recycle")
    assert update.names() == ["#recycle/other.jpg"]


def test_what_a_pattern_excludes_is_not_indexed_and_leaves(update: Update, photos: Path, pair: Model) -> None:
    update()
    rules = PathRules(exclude=("*.png", "inner/d*"))
    report = bring_up_to_date(update.catalog, pair, photos, rules=rules)
    assert update.names() == ["a.jpg", "c.webp", "inner/e.gif"]
    assert report.removed == 2
    assert sorted(report.skipped) == [
        (str(photos / "b.png"), "excluded", 1),
        (str(photos / "inner/d.jpeg"), "excluded", 1),
    ]
    assert (photos / "b.png").exists()


@pytest.mark.parametrize("form", ["zip", "tar"])
def test_bins_inside_archives_are_passed_over(update: Update, photos: Path, tmp_path: Path, form: str) -> None:
    archive = tmp_path / f"trip.{form}"
    names = ("a.jpg", "@eaDir/a.jpg", "#recycle/a.jpg")
    if form == "zip":
        with zipfile.ZipFile(archive, "w") as packed:
            for name in names:
                packed.write(photos / "a.jpg", name)
    else:
        with tarfile.open(archive, "w") as tarred:
            for name in names:
                tarred.add(photos / "a.jpg", name)
    update(archive)
    assert [Path(path).name for path in update.names()] == [f"trip.{form}!", "a.jpg"][1:]


def test_watching_passes_them_over_too(update: Update, photos: Path, pair: Model) -> None:
    update()
    stop = threading.Event()
    seen = []
    rules = PathRules(exclude=("inner/x*",))

    def change() -> None:
        copy_into(photos, "#recycle", "inner/xyz", "fresh")

    for path, _ in follow(update.catalog, pair, [photos], rules=rules, stop=stop, ready=change):
        seen.append(path)
        stop.set()
    assert "fresh/other.jpg" in update.names()
    assert not {"#recycle/other.jpg", "inner/xyz/other.jpg"} & set(update.names())
