"""Folders that are written whole or not at all, and files that may be gzipped."""

import gzip
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from babelclip.errors import InputError


def require_empty(folder: Path, way_out: str = "") -> None:
    """Refuse a folder that holds something.

    :param folder: where a command wants to write
    :param way_out: what else than a new folder would do
    :raises InputError: if anything is in it
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is there already; give a new folder{f', {way_out}' if way_out else ''}")


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A folder beside the target, which takes its place when the block ends without an error, and else goes.

    :param target: the folder to make; it must not be there
    :yields: an empty folder to write into
    :raises InputError: if the target is there already
    """
    if target.exists():
        raise InputError(f"{target} is there already; give a new folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as scratch:
        folder = Path(scratch) / "whole"
        folder.mkdir()
        yield folder
        folder.rename(target)


def read_unzipped(path: Path) -> bytes:
    """The content of a file, unzipped where its name ends in .gz.

    :param path: the file
    :return: its bytes; OSError and EOFError where it is missing or damaged
    """
    content = path.read_bytes()
    try:
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except zlib.error as error:
        raise gzip.BadGzipFile(f"{path}: {error}") from None
