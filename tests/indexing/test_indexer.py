import io
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from babelclip.catalog.vector_format import from_bytes
from babelclip.errors import CatalogError, InputError
from babelclip.indexing.indexer import NO_VECTOR
from babelclip.indexing.report import IndexReport
from babelclip.media.loader import load_image
from babelclip.models.model import Model
from babelclip.pipeline import ordered_map
from babelclip.vectors import FloatArray
from tests.helpers.faults import FAULTS, Fault, dropped, fault_name, faulty
from tests.helpers.media_files import make_raw, make_video
from tests.helpers.updating import XMP, Update, captions, opened


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
    with update.catalog.connection.transaction() as db:
        db.execute("UPDATE contents SET facts = 0, width = NULL")
    monkeypatch.setattr(Model, "stream_images", None)
    assert update() == IndexReport(unchanged=5)
    assert update.catalog.connection.rows("SELECT count(*) FROM contents WHERE width >= 90 AND facts > 0") == [(5,)]


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
    assert update.catalog.connection.rows("SELECT count(*) FROM contents") == [(4,)]


@pytest.fixture
def varied(photos: Path) -> Path:
    """Photos, a copy, archives, RAW pictures beside and in an archive, and a video, all of different contents."""
    rng = np.random.default_rng(7)
    for archive, names in (("x.zip", "ghi"), ("y.zip", "jkl")):
        with zipfile.ZipFile(photos / archive, "w") as out:
            for name in names:
                coarse = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
                content = io.BytesIO()
                Image.fromarray(coarse).resize((80, 60)).save(content, "PNG")
                out.writestr(f"{name}.png", content.getvalue())
            make_raw(photos / "raw.dng", red_rows=160 if archive == "x.zip" else 320)
            out.write(photos / "raw.dng", "m.dng")
            out.writestr("n.dng", archive.encode())
    make_raw(photos / "raw.dng")
    make_video(photos / "v.mp4")
    shutil.copy(photos / "a.jpg", photos / "copy.jpg")
    return photos


def stored_vectors(update: Update) -> dict[tuple[str, int | None], FloatArray]:
    query = "SELECT path, at_ms, vector FROM photos JOIN vectors USING (content)"
    rows = update.catalog.connection.rows(query)
    return {(path, at_ms): from_bytes(vector, update.model.dimension)[0] for path, at_ms, vector in rows}


def assert_every_vector_is_of_its_own_content(update: Update) -> None:
    """Compares each stored vector with that of its file or frame, encoded alone."""
    for (path, at_ms), vector in stored_vectors(update).items():
        alone = update.model.encode_images(load_image(path, at_ms))
        np.testing.assert_allclose(vector, alone, atol=2e-3, err_msg=f"{path} {at_ms}")


MEMBERS = {"x.zip": ("g.png", "h.png", "i.png", "m.dng"), "y.zip": ("j.png", "k.png", "l.png", "m.dng")}
VARIED_FILES = 16
"""Files and members of ``varied`` that have vectors: two more are damaged."""


@pytest.mark.parametrize("fault", FAULTS, ids=fault_name)
@pytest.mark.parametrize("stage", ["encoder", "decoder"])
def test_no_vector_is_stored_under_another_content_when_the_encoder_is_faulty(
    update: Update, varied: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault, stage: str
) -> None:
    if stage == "encoder":
        monkeypatch.setattr(Model, "stream_images", faulty(Model.stream_images, fault))
    else:
        monkeypatch.setattr("babelclip.models.model.ordered_map", faulty(ordered_map, fault))
    report = update()
    assert_every_vector_is_of_its_own_content(update)
    no_vector = {path for path, reason in report.failed if reason == NO_VECTOR}
    damaged = {path for path, reason in report.failed if reason != NO_VECTOR}
    assert damaged == {f"{varied}/x.zip!/n.dng", f"{varied}/y.zip!/n.dng"}
    assert bool(no_vector) == (fault is dropped)
    assert no_vector.isdisjoint(path for path, _ in stored_vectors(update))
    assert report.added + report.known_content + len(no_vector) == VARIED_FILES
    monkeypatch.undo()
    again = update()
    assert again.added + again.known_content == len(no_vector)
    assert {path for path, _ in stored_vectors(update)} == {
        str(path) for path in varied.rglob("*.*") if path.suffix != ".zip"
    } | {f"{varied}/{archive}!/{name}" for archive, names in MEMBERS.items() for name in names}
    assert_every_vector_is_of_its_own_content(update)


@pytest.mark.parametrize("fault", FAULTS, ids=fault_name)
def test_no_vector_is_stored_under_another_content_when_the_scan_is_faulty(
    update: Update, varied: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    monkeypatch.setattr("babelclip.indexing.indexer.ordered_map", faulty(ordered_map, fault))
    update()
    assert_every_vector_is_of_its_own_content(update)
    monkeypatch.undo()
    update()
    assert len({path for path, _ in stored_vectors(update)}) == VARIED_FILES
    assert_every_vector_is_of_its_own_content(update)


def test_the_vectors_of_the_varied_photos_differ_by_more_than_the_tolerance(update: Update, varied: Path) -> None:
    update()
    vectors = stored_vectors(update)
    copies = {str(varied / "copy.jpg")}
    rows = np.stack([vector for (path, _), vector in vectors.items() if path not in copies])
    apart = np.abs(rows[:, None] - rows[None]).max(axis=2) + np.eye(len(rows))
    assert apart.min() > 4e-3


RUN = """
import sys
from pathlib import Path
from babelclip.catalog.catalog import Catalog
from babelclip.indexing.indexer import bring_up_to_date
from babelclip.models.model import Model
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
    assert len(catalog.vectors.all()[0]) == catalog.vectors.count() == 300
    assert catalog.connection.rows("SELECT count(*) FROM vectors") == [(300,)]
    assert catalog.connection.rows("SELECT count(*) FROM retired") == [(0,)]
    catalog.close()


def test_a_full_disk_is_said_and_what_was_saved_stands(
    update: Update, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update()
    rng = np.random.default_rng(0)
    for i in range(700):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(photos / f"{i:03}.png")
    catalog = update.catalog
    pages = catalog.connection.rows("PRAGMA page_count")[0][0]
    catalog.connection.rows(f"PRAGMA max_page_count = {pages + 4}")
    with pytest.raises(CatalogError, match=r"full.*Make room; what was saved before stands"):
        update()
    have = catalog.vectors.count()
    assert catalog.connection.rows("PRAGMA integrity_check") == [("ok",)]
    assert have >= 5
    catalog.connection.rows("PRAGMA max_page_count = 1000000")
    report = update()
    assert report.unchanged == have
    assert catalog.vectors.count() == 705
