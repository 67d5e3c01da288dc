import errno
import io
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from babelclip import indexing, raw, video
from babelclip.archives import Member, members
from babelclip.catalog import Catalog
from babelclip.errors import CatalogError, ImageError, InputError
from babelclip.indexing import IndexReport, bring_up_to_date
from babelclip.model import Model
from babelclip.originals import read_original
from babelclip.pixels import read_image
from babelclip.video import facts_of_video, frames
from babelclip.watching import follow
from media import make_raw, make_video

XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title><rdf:Alt><rdf:li>TITLE</rdf:li></rdf:Alt>
</dc:title></rdf:Description></rdf:RDF></x:xmpmeta>"""


def opened(path: Path, model: Model) -> Catalog:
    return Catalog(path, model_name=model.name, fingerprint=model.fingerprint, dimension=model.dimension)


@pytest.fixture
def catalog(tmp_path: Path, pair: Model) -> Iterator[Catalog]:
    catalog = opened(tmp_path / "p.bc", pair)
    yield catalog
    catalog.close()


@pytest.fixture
def update(catalog: Catalog, pair: Model, photos: Path) -> "Update":
    return Update(catalog, pair, photos)


class Update:
    """Brings the catalog up to date with the folder of photos."""

    def __init__(self, catalog: Catalog, model: Model, photos: Path) -> None:
        self.catalog, self.model, self.photos = catalog, model, photos

    def __call__(self, root: Path | None = None, *, every: float = 5.0) -> IndexReport:
        return bring_up_to_date(self.catalog, self.model, root or self.photos, every_seconds=every)

    def names(self) -> list[str]:
        return [path.removeprefix(f"{self.photos}/") for path in self.catalog.vectors()[0]]


def captions(catalog: Catalog) -> dict[str, str | None]:
    query = "SELECT path, caption FROM photos JOIN contents ON contents.id = content"
    return {Path(path).name: caption for path, caption in catalog.rows(query)}


def test_a_photo_that_moves_keeps_vector_facts_and_tags(update: Update, photos: Path) -> None:
    update()
    update.catalog.tag([str(photos / "a.jpg")], add=["sea"], favourite=True)
    (photos / "new").mkdir()
    (photos / "a.jpg").rename(photos / "new/z.jpg")
    report = update()
    assert (report.added, report.known_content, report.removed) == (0, 1, 1)
    assert update.catalog.tag([str(photos / "new")]) == [(str(photos / "new/z.jpg"), True, ["sea"])]


def test_tags_are_added_and_taken_away_and_those_of_the_file_stay(update: Update, photos: Path) -> None:
    (photos / "a.jpg.xmp").write_text(XMP.replace("dc:title", "dc:subject"))
    update()
    path = str(photos / "a.jpg")
    assert update.catalog.tag([path], add=["sea", "sun"]) == [(path, False, ["TITLE", "sea", "sun"])]
    assert update.catalog.tag([path], remove=["sun", "TITLE"]) == [(path, False, ["TITLE", "sea"])]
    with pytest.raises(InputError, match=r"none\.jpg is not in the index; add it with: babelclip index"):
        update.catalog.tag([str(photos / "none.jpg")], add=["x"])


def test_a_sidecar_that_comes_changes_and_goes_is_followed_without_encoding(
    update: Update, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update()
    monkeypatch.setattr(Model, "stream_images", None)
    changes = ((XMP, "TITLE"), (XMP.replace("TITLE", "Other"), "Other"), (None, None))
    for moment, (text, said) in enumerate(changes, 1):
        sidecar = photos / "b.xmp"
        if text is None:
            sidecar.unlink()
        else:
            sidecar.write_text(text)
            os.utime(sidecar, ns=(moment, moment))
        assert update() == IndexReport(unchanged=5)
        assert captions(update.catalog)["b.png"] == said


def test_facts_that_an_older_version_did_not_read_are_read_without_encoding(
    update: Update, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update()
    with update.catalog._transaction():
        update.catalog._db.execute("UPDATE contents SET facts = 0, width = NULL")
    monkeypatch.setattr(Model, "stream_images", None)
    assert update() == IndexReport(unchanged=5)
    assert update.catalog.rows("SELECT count(*) FROM contents WHERE width >= 90 AND facts > 0") == [(5,)]


def test_a_folder_that_goes_is_forgotten_and_comes_back_without_encoding(
    update: Update, photos: Path, tmp_path: Path
) -> None:
    update()
    (photos / "inner").rename(tmp_path / "away")
    assert update().removed == 2
    assert update.names() == ["a.jpg", "b.png", "c.webp"]
    (tmp_path / "away").rename(photos / "inner")
    report = update()
    assert (report.added, report.known_content) == (0, 2)


def test_what_no_file_has_had_for_long_is_purged(update: Update, photos: Path) -> None:
    update()
    (photos / "a.jpg").unlink()
    update()
    assert update.catalog.purge(days=1) == 0
    assert update.catalog.purge(days=0) == 1
    assert update.catalog.rows("SELECT count(*) FROM contents") == [(4,)]


def zipped(archive: Path, photos: Path) -> None:
    files = sorted(photos.rglob("[a-e].*"))
    with zipfile.ZipFile(archive, "w") as out:
        for path in files:
            out.write(path, f"trip/{path.name}")
        out.writestr("__MACOSX/._a.jpg", b"no picture")
        out.writestr("notes.txt", b"no picture")


def tarred(archive: Path, photos: Path) -> None:
    with tarfile.open(archive, "w:gz" if archive.name.endswith("gz") else "w") as out:
        for path in sorted(photos.rglob("[a-e].*")):
            out.add(path, f"./trip/{path.name}")


@pytest.mark.parametrize("name", ["shard.zip", "shard.tar", "shard.tar.gz"])
def test_photos_in_archives_have_the_vectors_of_the_files(
    name: str, update: Update, photos: Path, tmp_path: Path, pair: Model
) -> None:
    folder = tmp_path / "archives"
    folder.mkdir()
    (zipped if name.endswith("zip") else tarred)(folder / name, photos)
    report = update(folder)
    assert (report.added, report.failed) == (5, [])
    paths, vectors = update.catalog.vectors()
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

    def noted(archive: str) -> Iterator[Member]:
        opened.append(Path(archive).name)
        return members(archive)

    monkeypatch.setattr(indexing, "members", noted)
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
    assert names <= {Path(path).name for path, _ in update.catalog.failures()}
    tarred(photos / "x.tar.gz", photos)
    assert update().failed == []
    assert opened == ["x.tar.gz", "y.zip", "x.tar.gz"]
    assert "x.tar.gz" not in {Path(path).name for path, _ in update.catalog.failures()}


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


def test_a_video_has_a_vector_every_few_seconds_with_its_time(update: Update, photos: Path) -> None:
    make_video(photos / "v.mp4")
    assert update().added == 6
    query = "SELECT at_ms FROM vectors JOIN photos USING (content) WHERE path LIKE '%v.mp4' ORDER BY at_ms"
    assert update.catalog.rows(query) == [(0,), (5000,), (10000,)]
    facts = "SELECT kind, width, height, duration_ms FROM contents WHERE kind = 'video'"
    assert update.catalog.rows(facts) == [("video", 160, 96, 12000)]
    assert update.catalog.count() == 6
    (photos / "v.mp4").rename(photos / "w.mp4")
    assert update().known_content == 1


def test_videos_can_be_left_out_and_stay_if_they_are_in(update: Update, photos: Path) -> None:
    make_video(photos / "v.mp4", seconds=1)
    assert update(every=0).added == 5
    assert update().added == 1
    assert update(every=0) == IndexReport(unchanged=5)
    assert update.catalog.count() == 6


@pytest.mark.parametrize("every", [1.0, 4.5])
def test_frames_are_those_of_their_times(tmp_path: Path, every: float) -> None:
    make_video(tmp_path / "v.mp4")
    taken = list(frames(str(tmp_path / "v.mp4"), every))
    assert [at for at, _ in taken] == [round(1000 * every * i) for i in range(len(taken))]
    assert len(taken) == (12 if every == 1.0 else 3)
    for at, image in taken:
        grey = np.asarray(image)[60, 100].mean()
        assert abs(grey - at // 1000 * 20) < 6


def test_a_video_is_turned_upright(tmp_path: Path) -> None:
    make_video(tmp_path / "v.mp4", seconds=1, rotate=90)
    ((_, image),) = frames(str(tmp_path / "v.mp4"))
    assert image.size == (96, 160)
    assert image.getpixel((4, 155))[0] > 200  # type: ignore[index]
    facts = facts_of_video(str(tmp_path / "v.mp4"))
    assert (facts.width, facts.height) == (96, 160)


def test_a_video_that_is_none_is_reported(update: Update, photos: Path) -> None:
    (photos / "v.mp4").write_bytes(b"no video" * 100)
    report = update()
    assert report.added == 5
    ((path, reason),) = report.failed
    assert path.endswith("v.mp4")
    assert "not a video that can be read" in reason


def test_a_raw_picture_is_rendered_and_its_facts_are_of_the_sensor(update: Update, tmp_path: Path) -> None:
    folder = tmp_path / "raw"
    folder.mkdir()
    make_raw(folder / "a.dng", orientation=6)
    image = read_image(folder / "a.dng")
    assert image.size == (240, 320)
    assert image.getpixel((120, 160))[0] > 200  # type: ignore[index]
    assert update(folder).added == 1
    query = "SELECT width, height, taken_at FROM contents"
    assert update.catalog.rows(query) == [(480, 640, "2024-07-31T18:05:09")]
    (folder / "b.cr2").write_bytes(b"no picture" * 50)
    assert "not a RAW file that can be read" in update(folder).failed[0][1]


def test_what_needs_a_missing_package_says_how_to_get_it_and_is_tried_again(
    update: Update, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_raw(photos / "a.dng")
    make_video(photos / "v.mp4", seconds=1)
    for module in (raw, video):
        monkeypatch.setattr(module, "find_spec", lambda name: None)
    report = update()
    assert report.added == 5
    assert {reason for _, reason in report.failed} == {
        "rawpy is not installed. Install it with: pip install 'babelclip[raw]'",
        "av is not installed. Install it with: pip install 'babelclip[video]'",
    }
    with pytest.raises(ImageError, match=r"babelclip\[raw\]"):
        read_image(photos / "a.dng")
    monkeypatch.undo()
    report = update()
    assert (report.added, report.failed) == (2, [])


RUN = """
import sys
from pathlib import Path
from babelclip.catalog import Catalog
from babelclip.indexing import bring_up_to_date
from babelclip.model import Model
model = Model.load(text=sys.argv[2], image=sys.argv[3])
catalog = Catalog(Path(sys.argv[1]), model_name=model.name, fingerprint=model.fingerprint, dimension=model.dimension)
bring_up_to_date(catalog, model, Path(sys.argv[4]), progress=lambda state: print(state.done, flush=True))
"""


def test_two_processes_that_index_at_once_lose_nothing(
    tmp_path: Path, text_folder: Path, clip_folder: Path, pair: Model
) -> None:
    rng = np.random.default_rng(0)
    folder = tmp_path / "many"
    folder.mkdir()
    for i in range(300):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(folder / f"{i:03}.png")
    arguments = [str(tmp_path / "two.bc"), str(text_folder), str(clip_folder), str(folder)]
    runs = [
        subprocess.Popen([sys.executable, "-c", RUN, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    for run in runs:
        _, said = run.communicate()
        assert run.returncode == 0, said
    catalog = opened(tmp_path / "two.bc", pair)
    assert len(catalog.vectors()[0]) == catalog.count() == 300
    assert catalog.rows("SELECT count(*) FROM vectors") == [(300,)]
    assert catalog.rows("SELECT count(*) FROM retired") == [(0,)]
    catalog.close()


def test_a_full_disk_is_said_and_what_was_saved_stands(
    update: Update, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update()
    rng = np.random.default_rng(0)
    for i in range(700):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(photos / f"{i:03}.png")
    catalog = update.catalog
    pages = catalog.rows("PRAGMA page_count")[0][0]
    catalog.rows(f"PRAGMA max_page_count = {pages + 4}")
    with pytest.raises(CatalogError, match=r"full.*Make room; what was saved before stands"):
        update()
    have = catalog.count()
    assert catalog.rows("PRAGMA integrity_check") == [("ok",)]
    assert have >= 5
    catalog.rows("PRAGMA max_page_count = 1000000")
    report = update()
    assert report.unchanged == have
    assert catalog.count() == 705


def test_a_folder_is_followed(pair: Model, photos: Path, tmp_path: Path) -> None:
    stop, ready = threading.Event(), threading.Event()

    def run() -> None:
        catalog = opened(tmp_path / "p.bc", pair)

        def bring_in() -> None:
            bring_up_to_date(catalog, pair, photos)
            ready.set()

        for _ in follow(catalog, pair, [photos], stop=stop, ready=bring_in):
            pass
        catalog.close()

    reader = opened(tmp_path / "p.bc", pair)

    def wait_for(condition: Callable[[], bool]) -> None:
        for _ in range(600):
            if condition():
                return
            time.sleep(0.1)
        pytest.fail("what changed was not brought in")

    follower = threading.Thread(target=run)
    follower.start()
    try:
        assert ready.wait(60)
        Image.new("RGB", (30, 40), "red").save(photos / "new.png")
        wait_for(lambda: reader.count() == 6)
        shutil.move(photos / "new.png", photos / "inner/moved.png")
        wait_for(lambda: str(photos / "inner/moved.png") in reader.vectors()[0] and reader.count() == 6)
        (photos / "inner/moved.xmp").write_text(XMP)
        wait_for(lambda: captions(reader)["moved.png"] == "TITLE")
        shutil.move(photos / "inner", tmp_path / "away")
        wait_for(lambda: reader.count() == 3)
        shutil.move(tmp_path / "away", photos / "back")
        wait_for(lambda: reader.count() == 6)
    finally:
        stop.set()
        follower.join()
        reader.close()


def test_what_is_not_a_folder_cannot_be_followed(catalog: Catalog, pair: Model, photos: Path) -> None:
    with pytest.raises(InputError, match="not a folder that can be followed"):
        next(follow(catalog, pair, [photos / "a.jpg"]))


def test_the_picture_behind_a_hit_is_read_wherever_it_is(photos: Path, tmp_path: Path) -> None:
    zipped(tmp_path / "s.zip", photos)
    make_video(tmp_path / "v.mp4")
    member = read_original(f"{tmp_path}/s.zip!/trip/b.png")
    np.testing.assert_array_equal(np.asarray(member), np.asarray(read_image(photos / "b.png")))
    assert read_original(str(photos / "a.jpg")).size == (90, 70)
    for at_ms, grey in ((None, 0), (0, 0), (7000, 140), (60_000, 220)):
        assert abs(np.asarray(read_original(str(tmp_path / "v.mp4"), at_ms))[60, 100].mean() - grey) < 6
    for gone in ("s.zip!/none.jpg", "none.zip!/a.jpg", "none.mp4", "none.jpg"):
        with pytest.raises(ImageError, match=r"(?i)no (such|item)"):
            read_original(f"{tmp_path}/{gone}")
