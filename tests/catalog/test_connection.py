import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from babelclip.catalog.catalog import Catalog
from babelclip.catalog.records import ContentRecord, Photo
from babelclip.errors import CatalogError, InputError, ModelMismatchError
from babelclip.vectors import unit_rows
from tests.helpers.small_catalog import VECTOR, digest, open_catalog


def test_another_model_is_refused_with_the_way_out(tmp_path: Path) -> None:
    open_catalog(tmp_path / "p.bc").close()
    with pytest.raises(ModelMismatchError, match=r"made by model tiny \(ffff.*--index NEW"):
        open_catalog(tmp_path / "p.bc", fingerprint="e" * 64)


def test_a_foreign_database_and_a_foreign_file_are_refused_untouched(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE t (x)")
    other.close()
    (tmp_path / "text").write_text("hello " * 1000)
    for name, message in (("other.db", "not an index of babelclip"), ("text", "cannot be used")):
        before = (tmp_path / name).read_bytes()
        with pytest.raises(CatalogError, match=message):
            open_catalog(tmp_path / name)
        assert (tmp_path / name).read_bytes() == before


def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    open_catalog(tmp_path / "p.bc").close()
    with sqlite3.connect(tmp_path / "p.bc") as raw:
        raw.execute("PRAGMA user_version = 99")
    raw.close()
    with pytest.raises(CatalogError, match="newer babelclip"):
        open_catalog(tmp_path / "p.bc")


def test_a_path_that_cannot_be_a_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="index"):
        open_catalog(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(CatalogError, match="index"):
        open_catalog(tmp_path / "file/p.bc")


def test_two_writers_wait_for_each_other(tmp_path: Path) -> None:
    open_catalog(tmp_path / "p.bc").close()

    def write(first: int) -> None:
        catalog = open_catalog(tmp_path / "p.bc")
        for number in range(first, first + 20):
            catalog.save([Photo(f"/{number}", 1, 1, digest(number))], [ContentRecord(digest(number), VECTOR)])
        catalog.close()

    threads = [threading.Thread(target=write, args=(first,)) for first in (0, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    catalog = open_catalog(tmp_path / "p.bc")
    assert catalog.vectors.count() == 40
    catalog.close()


def test_what_another_process_writes_is_seen(tmp_path: Path) -> None:
    catalog = open_catalog(tmp_path / "p.bc")
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
    catalog = open_catalog(tmp_path / "p.bc")
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
    catalog = open_catalog(tmp_path / "odd name #1%20.bc")
    catalog.save([Photo("/a", 1, 1, digest(1))], [ContentRecord(digest(1), np.ones(2, np.float32))])
    catalog.close()
    monkeypatch.setattr("babelclip.catalog.connection.on_read_only_medium", lambda path: True)
    fixed = open_catalog(tmp_path / "odd name #1%20.bc")
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
            open_catalog(tmp_path / f"{number}.bc").close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(make, range(4)))
    for number in range(75):
        with closing(sqlite3.connect(tmp_path / f"{number}.bc")) as connection:
            assert connection.execute("SELECT count(*) FROM meta WHERE key = 'identity'").fetchone() == (1,)


def test_a_file_of_an_unreleased_version_is_refused(tmp_path: Path) -> None:
    open_catalog(tmp_path / "p.bc").close()
    with sqlite3.connect(tmp_path / "p.bc") as raw:
        raw.execute("PRAGMA user_version = 1")
    raw.close()
    with pytest.raises(CatalogError, match=r"made by an unreleased babelclip.*--index NEW"):
        open_catalog(tmp_path / "p.bc")


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
