import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from babelclip.catalog.catalog import Catalog
from babelclip.catalog.records import ContentRecord, Photo
from babelclip.catalog.vector_reader import Cursor, VectorLocation
from babelclip.errors import CatalogError, InputError, ModelMismatchError
from babelclip.media.metadata import Metadata
from babelclip.vectors import unit_rows

VECTOR = np.array([0.6, 0.8], dtype=np.float32)


def opened(path: Path, *, fingerprint: str = "f" * 64) -> Catalog:
    return Catalog(path, model_name="tiny", fingerprint=fingerprint, dimension=2)


def digest(number: int) -> bytes:
    return bytes([number]) * 32


def test_what_is_saved_is_there_after_reopening(tmp_path: Path) -> None:
    catalog = opened(tmp_path / "deep/er/p.bc")
    photos = [
        Photo("/a/1.jpg", 10, 20, digest(1)),
        Photo("/a/2.jpg", 11, 21, digest(2)),
        Photo("/a/3", 0, 0, None, "no"),
    ]
    catalog.save(photos, [ContentRecord(digest(1), VECTOR), ContentRecord(digest(2), None, "damaged")])
    catalog.close()
    catalog = opened(tmp_path / "deep/er/p.bc")
    paths, vectors = catalog.vectors.all()
    assert paths == ["/a/1.jpg"]
    np.testing.assert_allclose(vectors, [VECTOR], atol=1e-3)
    known = catalog.photos.states_below("/a")
    assert {path: (one.size, one.mtime_ns) for path, one in known.items()} == {
        "/a/1.jpg": (10, 20),
        "/a/2.jpg": (11, 21),
    }
    assert catalog.photos.failures() == [("/a/2.jpg", "damaged"), ("/a/3", "no")]
    assert catalog.vectors.count() == 1
    catalog.close()


def test_below_means_the_folder_and_not_its_namesakes(tmp_path: Path) -> None:
    catalog = opened(tmp_path / "p.bc")
    names = ["/a/b", "/a/b/1", "/a/b/c/2", "/a/bc/3", "/a/b.jpg", "/a/b0"]
    catalog.save([Photo(name, 1, 1, digest(1)) for name in names], [ContentRecord(digest(1), VECTOR)])
    assert sorted(catalog.photos.paths_below("/a/b")) == ["/a/b", "/a/b/1", "/a/b/c/2"]
    assert len(catalog.photos.paths_below("/")) == 6
    catalog.close()


def test_forgotten_files_leave_their_vectors_behind(tmp_path: Path) -> None:
    catalog = opened(tmp_path / "p.bc")
    catalog.save([Photo("/1", 1, 1, digest(1))], [ContentRecord(digest(1), VECTOR)])
    catalog.forget(["/1"])
    assert catalog.vectors.all()[0] == []
    assert catalog.photos.has_content(digest(1))
    catalog.close()


def test_another_model_is_refused_with_the_way_out(tmp_path: Path) -> None:
    opened(tmp_path / "p.bc").close()
    with pytest.raises(ModelMismatchError, match=r"made by model tiny \(ffff.*--index NEW"):
        opened(tmp_path / "p.bc", fingerprint="e" * 64)


def test_a_foreign_database_and_a_foreign_file_are_refused_untouched(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE t (x)")
    other.close()
    (tmp_path / "text").write_text("hello " * 1000)
    for name, message in (("other.db", "not an index of babelclip"), ("text", "cannot be used")):
        before = (tmp_path / name).read_bytes()
        with pytest.raises(CatalogError, match=message):
            opened(tmp_path / name)
        assert (tmp_path / name).read_bytes() == before


def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    opened(tmp_path / "p.bc").close()
    with sqlite3.connect(tmp_path / "p.bc") as raw:
        raw.execute("PRAGMA user_version = 99")
    raw.close()
    with pytest.raises(CatalogError, match="newer babelclip"):
        opened(tmp_path / "p.bc")


def test_a_path_that_cannot_be_a_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="index"):
        opened(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(CatalogError, match="index"):
        opened(tmp_path / "file/p.bc")


def test_a_damaged_vector_is_an_error_and_not_a_wrong_answer(tmp_path: Path) -> None:
    catalog = opened(tmp_path / "p.bc")
    catalog.save([Photo("/1", 1, 1, digest(1))], [ContentRecord(digest(1), np.ones(3, np.float32))])
    with pytest.raises(CatalogError, match="damaged"):
        catalog.vectors.all()
    catalog.close()


def test_a_failing_write_leaves_nothing_half_written(tmp_path: Path) -> None:
    catalog = opened(tmp_path / "p.bc")
    with pytest.raises(CatalogError, match=r"p\.bc"):
        catalog.save(
            [Photo("/1", 1, 1, digest(1))], [ContentRecord(digest(1), VECTOR), ContentRecord(b"short", VECTOR)]
        )
    assert catalog.vectors.count() == 0
    assert not catalog.photos.has_content(digest(1))
    catalog.close()


def test_two_writers_wait_for_each_other(tmp_path: Path) -> None:
    opened(tmp_path / "p.bc").close()

    def write(first: int) -> None:
        catalog = opened(tmp_path / "p.bc")
        for number in range(first, first + 20):
            catalog.save([Photo(f"/{number}", 1, 1, digest(number))], [ContentRecord(digest(number), VECTOR)])
        catalog.close()

    threads = [threading.Thread(target=write, args=(first,)) for first in (0, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    catalog = opened(tmp_path / "p.bc")
    assert catalog.vectors.count() == 40
    catalog.close()


def test_what_another_process_writes_is_seen(tmp_path: Path) -> None:
    catalog = opened(tmp_path / "p.bc")
    assert catalog.vectors.count() == 0
    code = (
        "import sys, numpy as np; from pathlib import Path; from babelclip.catalog.catalog import Catalog\n"
        "from babelclip.catalog.records import ContentRecord, Photo\n"
        "c = Catalog(Path(sys.argv[1]), model_name='tiny', fingerprint='f' * 64, dimension=2)\n"
        "c.save([Photo('/1', 1, 1, bytes(32))], [ContentRecord(bytes(32), np.ones(2, np.float32))]); c.close()"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "p.bc")], check=True)
    assert catalog.vectors.count() == 1
    catalog.close()


def test_an_index_that_another_program_holds_is_waited_for_and_then_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("babelclip.catalog.connection.BUSY_TIMEOUT_SECONDS", 0.2)
    catalog = opened(tmp_path / "p.bc")
    holder = sqlite3.connect(tmp_path / "p.bc", isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(CatalogError, match=r"locked.*Another program is writing to it; try again"):
        catalog.save([Photo("/1", 1, 1, digest(1))], [ContentRecord(digest(1), VECTOR)])
    assert catalog.vectors.count() == 0
    release = threading.Timer(0.05, holder.execute, ["COMMIT"])
    release.start()
    catalog.save([Photo("/1", 1, 1, digest(1))], [ContentRecord(digest(1), VECTOR)])
    release.join()
    assert catalog.vectors.count() == 1
    holder.close()
    catalog.close()


def test_an_index_on_a_read_only_medium_is_read_and_cannot_be_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = opened(tmp_path / "odd name #1%20.bc")
    catalog.save([Photo("/a", 1, 1, digest(1))], [ContentRecord(digest(1), np.ones(2, np.float32))])
    catalog.close()
    monkeypatch.setattr("babelclip.catalog.connection.on_read_only_medium", lambda path: True)
    fixed = opened(tmp_path / "odd name #1%20.bc")
    assert fixed.vectors.count() == 1
    assert [path.name for path in tmp_path.glob("*.bc*")] == ["odd name #1%20.bc"]
    with pytest.raises(CatalogError, match=r"readonly.*copy it elsewhere to change it"):
        fixed.forget(["/a"])
    fixed.close()


def test_many_may_make_the_same_file_at_once(tmp_path: Path) -> None:
    together = threading.Barrier(4, timeout=10)

    def make(_: int) -> None:
        for number in range(75):
            together.wait()
            opened(tmp_path / f"{number}.bc").close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(make, range(4)))


KILLED = """
import sys, numpy as np
from pathlib import Path
from babelclip.catalog.catalog import Catalog
from babelclip.catalog.records import ContentRecord, Photo
catalog = Catalog(Path(sys.argv[1]), model_name="tiny", fingerprint="f" * 64, dimension=2)
number = 0
while True:
    hashes = [(number + i).to_bytes(32, "big") for i in range(20)]
    photos = [Photo(f"/{number + i}", 1, 1, one) for i, one in enumerate(hashes)]
    catalog.save(photos, [ContentRecord(one, np.ones(2, np.float32)) for one in hashes])
    catalog.forget([photos[0].path])
    number += 20
    print(number, flush=True)
"""


@pytest.mark.parametrize("after", [1, 7, 20])
def test_a_kill_in_the_middle_of_writing_leaves_whole_transactions(tmp_path: Path, after: int) -> None:
    writer = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path / "p.bc")], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    for _ in range(after):
        said = int(writer.stdout.readline())
    writer.kill()
    said = max([said, *(int(line) for line in writer.stdout)])
    writer.wait()
    writer.stdout.close()
    catalog = opened(tmp_path / "p.bc")
    assert catalog.connection.rows("PRAGMA integrity_check") == [("ok",)]
    assert catalog.vectors.count() % 19 in (0, 1)
    assert catalog.vectors.count() >= said // 20 * 19
    assert catalog.connection.rows("SELECT count(*) FROM photos JOIN contents ON contents.id = content") == [
        (catalog.vectors.count(),)
    ]
    assert sum(len(ids) for ids, _ in catalog.vectors.vectors_since()) == catalog.vectors.count()
    assert len(catalog.vectors.removed_since()[0]) == catalog.connection.rows("SELECT count(*) FROM retired")[0][0]
    catalog.close()


def test_a_file_of_an_unreleased_version_is_refused(tmp_path: Path) -> None:
    opened(tmp_path / "p.bc").close()
    with sqlite3.connect(tmp_path / "p.bc") as raw:
        raw.execute("PRAGMA user_version = 1")
    raw.close()
    with pytest.raises(CatalogError, match=r"made by an unreleased babelclip.*--index NEW"):
        opened(tmp_path / "p.bc")


def test_a_reader_learns_what_is_new_and_what_is_gone(tmp_path: Path) -> None:
    catalog = opened(tmp_path / "p.bc")
    photos = [Photo(f"/{i}.jpg", 1, 1, digest(i)) for i in range(5)]
    catalog.save(photos, [ContentRecord(digest(i), VECTOR) for i in range(5)])
    blocks = list(catalog.vectors.vectors_since(0, block=2))
    assert [len(ids) for ids, _ in blocks] == [2, 2, 1]
    have = {int(i) for ids, _ in blocks for i in ids}
    mark = catalog.vectors.cursor()
    catalog.forget(["/1.jpg", "/2.jpg"])
    catalog.save(
        [Photo("/moved.jpg", 1, 1, digest(2)), Photo("/3.jpg", 2, 2, digest(9))], [ContentRecord(digest(9), VECTOR)]
    )
    for ids, _ in catalog.vectors.vectors_since(mark.vector):
        have |= set(ids.tolist())
    gone, removal = catalog.vectors.removed_since(mark.removal)
    have -= set(gone.tolist())
    assert have == {row[0] for row in catalog.connection.rows("SELECT id FROM vectors")}
    assert len(have) == 4
    places = catalog.vectors.locations(sorted(have))
    assert {place.path for found in places.values() for place in found} == {"/0.jpg", "/3.jpg", "/4.jpg", "/moved.jpg"}
    assert catalog.vectors.cursor() == Cursor(max(have), removal)
    assert catalog.vectors.removed_since(removal)[0].tolist() == []
    catalog.close()


def test_a_copy_keeps_the_vector_when_the_first_file_goes(tmp_path: Path) -> None:
    catalog = opened(tmp_path / "p.bc")
    catalog.save([Photo("/1", 1, 1, digest(1)), Photo("/2", 1, 1, digest(1))], [ContentRecord(digest(1), VECTOR)])
    before = catalog.vectors.cursor()
    catalog.forget(["/1"])
    assert catalog.vectors.cursor() == before
    assert catalog.vectors.all()[0] == ["/2"]
    catalog.close()


def test_a_video_has_a_vector_for_each_frame(tmp_path: Path) -> None:
    catalog = opened(tmp_path / "p.bc")
    frames = np.stack([VECTOR, -VECTOR])
    facts = Metadata(kind="video", duration_ms=9000)
    catalog.save([Photo("/v.mp4", 1, 1, digest(1))], [ContentRecord(digest(1), frames, None, facts, (0, 4000))])
    assert catalog.vectors.count() == 1
    places = catalog.vectors.locations([1, 2])
    assert places == {1: [VectorLocation(1, "/v.mp4", 0)], 2: [VectorLocation(2, "/v.mp4", 4000)]}
    catalog.close()


def test_vectors_in_int8_take_half_and_stay_near(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = unit_rows(rng.standard_normal((50, 512)).astype(np.float32))
    catalog = Catalog(tmp_path / "p.bc", model_name="t", fingerprint="f", dimension=512, vectors="int8")
    photos = [Photo(f"/{i}", 1, 1, digest(i)) for i in range(50)]
    catalog.save(photos, [ContentRecord(digest(i), rows[i]) for i in range(50)])
    ((_, stored),) = catalog.vectors.vectors_since()
    assert (unit_rows(stored) * rows).sum(1).min() > 0.9999
    assert catalog.connection.rows("SELECT max(length(vector)) FROM vectors") == [(516,)]
    catalog.close()
    with pytest.raises(InputError, match=r"stores its vectors as int8, not float16.*--index NEW"):
        Catalog(tmp_path / "p.bc", model_name="t", fingerprint="f", dimension=512, vectors="float16")
    catalog = Catalog(tmp_path / "p.bc", model_name="t", fingerprint="f", dimension=512)
    assert len(catalog.vectors.all()[0]) == 50
    catalog.close()
