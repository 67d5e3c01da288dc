import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from babelclip.catalog.records import ContentRecord, Photo
from babelclip.errors import CatalogError
from tests.helpers.small_catalog import VECTOR, digest, open_catalog


def test_what_is_saved_is_there_after_reopening(tmp_path: Path) -> None:
    catalog = open_catalog(tmp_path / "deep/er/p.bc")
    photos = [
        Photo("/a/1.jpg", 10, 20, digest(1)),
        Photo("/a/2.jpg", 11, 21, digest(2)),
        Photo("/a/3", 0, 0, None, "no"),
    ]
    catalog.save(photos, [ContentRecord(digest(1), VECTOR), ContentRecord(digest(2), None, "damaged")])
    catalog.close()
    catalog = open_catalog(tmp_path / "deep/er/p.bc")
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


def test_forgotten_files_leave_their_vectors_behind(tmp_path: Path) -> None:
    catalog = open_catalog(tmp_path / "p.bc")
    catalog.save([Photo("/1", 1, 1, digest(1))], [ContentRecord(digest(1), VECTOR)])
    catalog.forget(["/1"])
    assert catalog.vectors.all()[0] == []
    assert catalog.photos.has_content(digest(1))
    catalog.close()


def test_a_failing_write_leaves_nothing_half_written(tmp_path: Path) -> None:
    catalog = open_catalog(tmp_path / "p.bc")
    with pytest.raises(CatalogError, match=r"p\.bc"):
        catalog.save(
            [Photo("/1", 1, 1, digest(1))], [ContentRecord(digest(1), VECTOR), ContentRecord(b"short", VECTOR)]
        )
    assert catalog.vectors.count() == 0
    assert not catalog.photos.has_content(digest(1))
    catalog.close()


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
    catalog = open_catalog(tmp_path / "p.bc")
    assert catalog.connection.rows("PRAGMA integrity_check") == [("ok",)]
    assert catalog.vectors.count() % 19 in (0, 1)
    assert catalog.vectors.count() >= said // 20 * 19
    assert catalog.connection.rows("SELECT count(*) FROM photos JOIN contents ON contents.id = content") == [
        (catalog.vectors.count(),)
    ]
    assert sum(len(ids) for ids, _ in catalog.vectors.vectors_since()) == catalog.vectors.count()
    assert len(catalog.vectors.removed_since()[0]) == catalog.connection.rows("SELECT count(*) FROM retired")[0][0]
    catalog.close()


def test_a_copy_keeps_the_vector_when_the_first_file_goes(tmp_path: Path) -> None:
    catalog = open_catalog(tmp_path / "p.bc")
    catalog.save([Photo("/1", 1, 1, digest(1)), Photo("/2", 1, 1, digest(1))], [ContentRecord(digest(1), VECTOR)])
    before = catalog.vectors.cursor()
    catalog.forget(["/1"])
    assert catalog.vectors.cursor() == before
    assert catalog.vectors.all()[0] == ["/2"]
    catalog.close()
