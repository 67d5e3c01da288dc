import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from babelclip.catalog import Catalog, Content, Photo
from babelclip.errors import CatalogError, ModelMismatchError

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
    catalog.save(photos, [Content(digest(1), VECTOR), Content(digest(2), None, "damaged")])
    catalog.close()
    catalog = opened(tmp_path / "deep/er/p.bc")
    paths, vectors = catalog.vectors()
    assert paths == ["/a/1.jpg"]
    np.testing.assert_allclose(vectors, [VECTOR], atol=1e-3)
    assert catalog.known_files("/a") == {"/a/1.jpg": (10, 20), "/a/2.jpg": (11, 21)}
    assert catalog.failures() == [("/a/2.jpg", "damaged"), ("/a/3", "no")]
    assert catalog.count() == 1
    catalog.close()


def test_below_means_the_folder_and_not_its_namesakes(tmp_path: Path) -> None:
    catalog = opened(tmp_path / "p.bc")
    names = ["/a/b", "/a/b/1", "/a/b/c/2", "/a/bc/3", "/a/b.jpg", "/a/b0"]
    catalog.save([Photo(name, 1, 1, digest(1)) for name in names], [Content(digest(1), VECTOR)])
    assert sorted(catalog.paths_below("/a/b")) == ["/a/b", "/a/b/1", "/a/b/c/2"]
    assert len(catalog.paths_below("/")) == 6
    catalog.close()


def test_forgotten_files_leave_their_vectors_behind(tmp_path: Path) -> None:
    catalog = opened(tmp_path / "p.bc")
    catalog.save([Photo("/1", 1, 1, digest(1))], [Content(digest(1), VECTOR)])
    catalog.forget(["/1"])
    assert catalog.vectors()[0] == []
    assert catalog.has_content(digest(1))
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
    catalog.save([Photo("/1", 1, 1, digest(1))], [Content(digest(1), np.ones(3, np.float32))])
    with pytest.raises(CatalogError, match="damaged"):
        catalog.vectors()
    catalog.close()


def test_a_failing_write_leaves_nothing_half_written(tmp_path: Path) -> None:
    catalog = opened(tmp_path / "p.bc")
    with pytest.raises(CatalogError, match=r"p\.bc"):
        catalog.save([Photo("/1", 1, 1, digest(1))], [Content(digest(1), VECTOR), Content(b"short", VECTOR)])
    assert catalog.count() == 0
    assert not catalog.has_content(digest(1))
    catalog.close()


def test_two_writers_wait_for_each_other(tmp_path: Path) -> None:
    opened(tmp_path / "p.bc").close()

    def write(first: int) -> None:
        catalog = opened(tmp_path / "p.bc")
        for number in range(first, first + 20):
            catalog.save([Photo(f"/{number}", 1, 1, digest(number))], [Content(digest(number), VECTOR)])
        catalog.close()

    threads = [threading.Thread(target=write, args=(first,)) for first in (0, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    catalog = opened(tmp_path / "p.bc")
    assert catalog.count() == 40
    catalog.close()


def test_another_process_sees_the_change_counter_move(tmp_path: Path) -> None:
    catalog = opened(tmp_path / "p.bc")
    before = catalog.change_counter()
    code = (
        "import sys, numpy as np; from pathlib import Path; from babelclip.catalog import *\n"
        "c = Catalog(Path(sys.argv[1]), model_name='tiny', fingerprint='f' * 64, dimension=2)\n"
        "c.save([Photo('/1', 1, 1, bytes(32))], [Content(bytes(32), np.ones(2, np.float32))]); c.close()"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "p.bc")], check=True)
    assert catalog.change_counter() != before
    assert catalog.count() == 1
    catalog.close()
