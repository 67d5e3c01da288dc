"""Photos in archives (zip, tar, WebDataset shards), read in place: nothing is unpacked to the disk."""

import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path
from typing import TypeVar

from babelclip.errors import ArchiveError, InputError
from babelclip.media.crawl import kind_of
from babelclip.media.path_rules import DEFAULT_RULES

MEMBER_SEPARATOR = "!/"
"""Separator of archive and member in a path: /x/photos.zip!/a/b.jpg."""

_DAMAGE: tuple[type[Exception], ...] = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    NotImplementedError,
    KeyError,
    zlib.error,
    LZMAError,
)
_DAMAGE += (zipfile.BadZipFile, tarfile.TarError)


Entry = TypeVar("Entry")


@dataclass(frozen=True, slots=True)
class ArchiveMember:
    """A photo in an archive: its path, its size in bytes, and a function that reads it."""

    path: str
    size: int
    read: Callable[[], bytes]


def members(archive: str) -> Iterator[ArchiveMember]:
    """List the photos in an archive, in its order, without hidden ones.

    A member is read before the next one is drawn, or not at all: a compressed tar goes only forward.

    :param archive: a zip or tar file
    :yield: its photos
    :raises ArchiveError: if it is damaged; what came before is good
    :raises InputError: if it cannot be read now
    """
    try:
        if _is_zip(archive):
            yield from _zip_members(archive)
        else:
            yield from _tar_members(archive)
    except _DAMAGE as error:
        raise _failure(error, f"{archive}: not an archive that can be read: {error}") from None


def archive_of(path: str) -> str | None:
    """Split the archive from the path of a member, by its name: a folder may be called "Wow!".

    :param path: of a file, a folder or a member
    :return: the path of the archive; None if nothing before a MEMBER_SEPARATOR has the name of an archive
    """
    at = path.find(MEMBER_SEPARATOR)
    while at >= 0 and kind_of(path[:at]) != "archive":
        at = path.find(MEMBER_SEPARATOR, at + 1)
    return path[:at] if at >= 0 else None


def inside_archive(path: str) -> bool:
    """Check whether a path in an index is that of an archive member.

    :param path: the path
    :return: whether it is; a file whose own name looks like one is not
    """
    return _packed_in(path) is not None


def file_of(path: str) -> Path:
    """Get the file on disk that holds a photo of an index.

    :param path: the path
    :return: the file itself, or the archive that it is in
    """
    return Path(_packed_in(path) or path)


def source_of(path: str) -> Path | bytes:
    """Get the file or the bytes of a photo of an index.

    :param path: of a file, or of a member of an archive
    :return: the file, or the member's bytes
    :raises InputError: if the archive is damaged or gone, or has no such member
    """
    archive = _packed_in(path)
    if archive is None:
        return Path(path)
    try:
        # Members may begin with / or ./, which the path leaves out; the last of a name is the one that counts.
        if _is_zip(archive):
            with zipfile.ZipFile(archive) as packed:
                return packed.read([one for one in packed.infolist() if _path(archive, one.filename) == path][-1])
        with tarfile.open(archive, "r:*") as opened:
            return _of_tar(opened)(_named(opened, archive, path)[-1])
    except IndexError:
        raise InputError(f"{path}: {archive} has no such member") from None
    except _DAMAGE as error:
        raise InputError(f"{path}: cannot be read from {archive}: {error}") from None


def _packed_in(path: str) -> str | None:
    """The archive of which a path names a member; None for a file, even one whose own name looks like a member's."""
    archive = archive_of(path)
    return None if archive is None or Path(path).exists() else archive


def _is_zip(archive: str) -> bool:
    return archive.lower().endswith((".zip", ".cbz"))


def _zip_members(archive: str) -> Iterator[ArchiveMember]:
    with zipfile.ZipFile(archive) as opened:
        for entry in opened.infolist():
            if not entry.is_dir() and _is_photo(entry.filename):
                yield ArchiveMember(
                    _path(archive, entry.filename), entry.file_size, _reader(archive, opened.read, entry)
                )


def _tar_members(archive: str) -> Iterator[ArchiveMember]:
    # Streams ("|") keep no list of members; one of a million photos would be hundreds of megabytes.
    with tarfile.open(archive, "r|*") as opened:
        for entry in opened:
            if entry.isfile() and _is_photo(entry.name):
                yield ArchiveMember(_path(archive, entry.name), entry.size, _reader(archive, _of_tar(opened), entry))


def _of_tar(opened: tarfile.TarFile) -> Callable[[tarfile.TarInfo], bytes]:
    """Make a function that reads a member of a tar."""

    def read(entry: tarfile.TarInfo) -> bytes:
        file = opened.extractfile(entry)
        if file is None:
            raise OSError(f"{entry.name} has no content")
        return file.read()

    return read


def _named(opened: tarfile.TarFile, archive: str, path: str) -> list[tarfile.TarInfo]:
    """List the members of a tar with a path; damage behind them is ignored."""
    found: list[tarfile.TarInfo] = []
    try:
        found.extend(entry for entry in opened if _path(archive, entry.name) == path)
    except _DAMAGE:
        if not found:
            raise
    return found


def _reader(archive: str, read: Callable[[Entry], bytes], entry: Entry) -> Callable[[], bytes]:
    """Make a function that reads one member; damage is an InputError."""

    def content() -> bytes:
        try:
            return read(entry)
        except _DAMAGE as error:
            raise _failure(error, f"cannot be read from {archive}: {error}") from None

    return content


def _failure(error: Exception, message: str) -> InputError:
    """Choose the error: system errors (no permission, a missing drive) may be temporary, damage is permanent."""
    passing = isinstance(error, OSError) and error.errno is not None
    return InputError(message) if passing else ArchiveError(message)


def _is_photo(name: str) -> bool:
    """Whether a member is a photo by its name, and neither hidden (macOS adds ._ files) nor in a system's folder."""
    parts = [part for part in name.split("/") if part not in (".", "")]
    return kind_of(name) == "image" and DEFAULT_RULES.reason(parts) is None


def _path(archive: str, name: str) -> str:
    """Path of a member in an index."""
    return archive + MEMBER_SEPARATOR + name.removeprefix("./").lstrip("/")
