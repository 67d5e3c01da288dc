from pathlib import Path

from babelclip.catalog.records import ContentRecord, Photo
from tests.helpers.small_catalog import VECTOR, digest, open_catalog


def test_below_means_the_folder_and_not_its_namesakes(tmp_path: Path) -> None:
    catalog = open_catalog(tmp_path / "p.bc")
    names = ["/a/b", "/a/b/1", "/a/b/c/2", "/a/bc/3", "/a/b.jpg", "/a/b0"]
    catalog.save([Photo(name, 1, 1, digest(1)) for name in names], [ContentRecord(digest(1), VECTOR)])
    assert sorted(catalog.photos.paths_below("/a/b")) == ["/a/b", "/a/b/1", "/a/b/c/2"]
    assert len(catalog.photos.paths_below("/")) == 6
    catalog.close()
