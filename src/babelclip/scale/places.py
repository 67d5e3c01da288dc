"""Places: folders here or in an object store, told by a path or URL."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from babelclip.errors import InputError
from babelclip.extras import importing
from babelclip.media.crawl import canonical_path, photos_below
from babelclip.media.path_rules import DEFAULT_RULES

with importing("scale"):
    import fsspec
    import pyarrow as pa
    from pyarrow import fs

ARROW_SCHEMES = ("s3", "gs", "gcs", "hdfs", "viewfs", "abfs", "abfss")
"""What Arrow opens by itself, without another package; every other scheme is fsspec's."""
PARTIAL = ".partial"
"""The ending of what is being written; only a kill leaves one behind."""


@dataclass(frozen=True, slots=True)
class File:
    """A file in a place: its full name there, bytes, and time of change in nanoseconds where that is known."""

    path: str
    size: int
    mtime_ns: int | None


@dataclass(frozen=True, slots=True)
class Place:
    """A file system and a path in it. ``prefix`` before a path makes a name that holds outside it too."""

    filesystem: Any
    path: str
    prefix: str

    def name(self, path: str) -> str:
        """What a file of this place is called outside it.

        :param path: its path in the file system
        :return: an absolute path or a URL
        """
        return self.prefix + path

    def inner(self, *parts: str) -> str:
        """The path of something in this place, by the names of folders and of a file."""
        return "/".join((self.path.rstrip("/"), *parts))

    def exists(self, path: str) -> bool:
        """Whether there is a file or folder of that path.

        :param path: a path in the file system
        :return: whether it is there
        """
        return bool(self.filesystem.get_file_info(path).type != fs.FileType.NotFound)

    def is_file(self) -> bool:
        """Whether the place itself is a file."""
        return bool(self.filesystem.get_file_info(self.path).is_file)

    def files(self, suffixes: frozenset[str], *, below: str | None = None) -> list[File]:
        """The files of some kinds in this place and below, in order; hidden ones are passed over.

        :param suffixes: endings in small letters, with their dot
        :param below: a folder in it instead of all
        :return: the files, sorted by path; none where the folder is not there
        """
        base = self.path if below is None else self.inner(below)
        selector = fs.FileSelector(base, recursive=True, allow_not_found=True)
        start = len(base.rstrip("/")) + 1
        found = [
            File(path, info.size, info.mtime_ns)
            for info in self.filesystem.get_file_info(selector)
            if info.is_file and _suffix(path := _path(info)) in suffixes and not _hidden(path[start:])
        ]
        return sorted(found, key=lambda file: file.path)

    @contextmanager
    def written(self, path: str) -> Iterator[Any]:
        """A file that is there whole when the block ends without an error, and else not at all.

        :param path: its path in the file system
        :yield: an Arrow output stream
        """
        scratch = f"{path}.{uuid.uuid4().hex}{PARTIAL}"
        self.filesystem.create_dir(path.rpartition("/")[0], recursive=True)
        try:
            with self.filesystem.open_output_stream(scratch) as stream:
                yield stream
            self.filesystem.move(scratch, path)
        except BaseException:
            if self.exists(scratch):
                self.filesystem.delete_file(scratch)
            raise


def open_place(name: str) -> Place:
    """A place by its name.

    :param name: a path, or a URL such as s3://bucket/folder (with ?region=..&endpoint_override=.. where needed); what
        Arrow does not know, fsspec opens, if its package for it is installed
    :return: the place, which need not be there yet
    :raises InputError: if the URL cannot be opened
    """
    scheme = urlsplit(name).scheme if "://" in name else ""
    try:
        if scheme in ("", "file"):
            local = name.removeprefix("file://")
            return Place(fs.LocalFileSystem(), str(canonical_path(Path(local))), "")
        if scheme in ARROW_SCHEMES:
            filesystem, path = fs.FileSystem.from_uri(name)
            return Place(filesystem, path, f"{scheme}://")
        filesystem, path = fsspec.core.url_to_fs(name)
    except (ValueError, ImportError, OSError, pa.ArrowException) as error:
        raise InputError(f"{name} cannot be opened: {error}") from None
    return Place(fs.PyFileSystem(fs.FSSpecHandler(filesystem)), path, f"{scheme}://")


def local_photos(root: Path) -> list[File]:
    """The photos at or below a local path, as ``babelclip index`` finds them; links to folders are not followed.

    A name that is not UTF-8 is given with its odd bytes escaped, so that it ends in the error table; pipes are passed
    over.

    :param root: a folder or a photo
    :return: the files, sorted by path
    :raises InputError: if there is nothing, or a folder cannot be read
    """

    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename} cannot be read: {error.strerror}")

    found = []
    for path in photos_below(root, refuse):
        if path.exists() and not path.is_file():
            continue
        stat = path.stat(follow_symlinks=True) if path.exists() else path.lstat()
        name = str(path).encode("utf-8", "backslashreplace").decode("utf-8")
        found.append(File(name, stat.st_size, stat.st_mtime_ns))
    return sorted(found, key=lambda file: file.path)


def _path(info: Any) -> str:
    """The path of a file; nothing where it is not UTF-8, which Arrow cannot name."""
    try:
        return str(info.path)
    except UnicodeDecodeError:
        return ""


def _suffix(path: str) -> str:
    name = path.rpartition("/")[2]
    return name[name.rfind(".") :].lower() if "." in name else ""


def _hidden(path: str) -> bool:
    return DEFAULT_RULES.reason(path.split("/")) is not None
