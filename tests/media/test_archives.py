import io
import tarfile
import zipfile
from pathlib import Path

from babelclip.media.archives import archive_of, members, source_of


def test_the_archive_in_a_path_is_recognized_by_its_name() -> None:
    assert archive_of("/x/Wow!/a.zip!/b.tar!/c.jpg") == "/x/Wow!/a.zip"
    assert archive_of("/x/Wow!/a.jpg") is None
    assert archive_of("/x/a.zip") is None


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
