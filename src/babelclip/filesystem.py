"""Atomic creation of folders, and files that may be gzipped."""

import gzip
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from babelclip.errors import InputError


def require_empty(folder: Path, way_out: str = "") -> None:
    """Check that an output folder is new or empty.

    :param folder: the output folder
    :param way_out: alternative to a new folder, for the message
    :raises InputError: if the folder is not empty
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is there already; give a new folder{f', {way_out}' if way_out else ''}")


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Create a folder atomically: write to a temporary folder beside it, which is renamed if the block succeeds.

    :param target: the folder to create; it must not exist
    :yields: an empty temporary folder to write into
    :raises InputError: if the target exists
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
    """Read a file, and decompress it if its name ends in .gz.

    :param path: the file
    :return: its bytes; OSError and EOFError if it is missing or damaged
    """
    content = path.read_bytes()
    try:
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except zlib.error as error:
        raise gzip.BadGzipFile(f"{path}: {error}") from None
