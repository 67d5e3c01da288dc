"""Locations: local folders or folders in an object store, by path or URL."""

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
"""Schemes that Arrow opens without another package; fsspec opens the others."""
PARTIAL = ".partial"
"""Suffix of an unfinished file; only a killed process leaves one behind."""


@dataclass(frozen=True, slots=True)
class LocatedFile:
    """A file in a location: path in the file system, size in bytes, and modification time in nanoseconds if known."""

    path: str
    size: int
    mtime_ns: int | None


@dataclass(frozen=True, slots=True)
class Location:
    """A file system and a path in it. ``prefix`` and a path of the file system form an absolute path or a URL."""

    filesystem: Any
    path: str
    prefix: str

    def name(self, path: str) -> str:
        """Convert a path of the file system to an absolute path or a URL.

        :param path: a path in the file system
        :return: an absolute path or a URL
        """
        return self.prefix + path

    def inner(self, *parts: str) -> str:
        """Join names of folders and of a file to a path in this location."""
        return "/".join((self.path.rstrip("/"), *parts))

    def exists(self, path: str) -> bool:
        """Return whether a file or folder exists.

        :param path: a path in the file system
        :return: whether it exists
        """
        return bool(self.filesystem.get_file_info(path).type != fs.FileType.NotFound)

    def is_file(self) -> bool:
        """Return whether the location is a file."""
        return bool(self.filesystem.get_file_info(self.path).is_file)

    def files(self, suffixes: frozenset[str], *, below: str | None = None) -> list[LocatedFile]:
        """List the files with given suffixes in this location and its subfolders, without hidden files.

        :param suffixes: suffixes in lower case, with dot
        :param below: a subfolder to list instead
        :return: the files, sorted by path; none if the folder does not exist
        """
        base = self.path if below is None else self.inner(below)
        selector = fs.FileSelector(base, recursive=True, allow_not_found=True)
        start = len(base.rstrip("/")) + 1
        files = [
            LocatedFile(path, info.size, info.mtime_ns)
            for info in self.filesystem.get_file_info(selector)
            if info.is_file and _suffix(path := _path(info)) in suffixes and not _hidden(path[start:])
        ]
        return sorted(files, key=lambda file: file.path)

    @contextmanager
    def written(self, path: str) -> Iterator[Any]:
        """Write a file atomically: it exists only if the block ends without an error.

        :param path: a path in the file system
        :yield: an Arrow output stream
        """
        partial = f"{path}.{uuid.uuid4().hex}{PARTIAL}"
        self.filesystem.create_dir(path.rpartition("/")[0], recursive=True)
        try:
            with self.filesystem.open_output_stream(partial) as stream:
                yield stream
            self.filesystem.move(partial, path)
        except BaseException:
            if self.exists(partial):
                self.filesystem.delete_file(partial)
            raise


def open_location(name: str) -> Location:
    """Open a location.

    :param name: a path, or a URL such as s3://bucket/folder, with ?region=..&endpoint_override=.. if needed; schemes
        that Arrow does not know need their fsspec package
    :return: the location, which need not exist
    :raises InputError: if the URL cannot be opened
    """
    scheme = urlsplit(name).scheme if "://" in name else ""
    try:
        if scheme in ("", "file"):
            local = name.removeprefix("file://")
            return Location(fs.LocalFileSystem(), str(canonical_path(Path(local))), "")
        if scheme in ARROW_SCHEMES:
            filesystem, path = fs.FileSystem.from_uri(name)
            return Location(filesystem, path, f"{scheme}://")
        filesystem, path = fsspec.core.url_to_fs(name)
    except (ValueError, ImportError, OSError, pa.ArrowException) as error:
        raise InputError(f"{name} cannot be opened: {error}") from None
    return Location(fs.PyFileSystem(fs.FSSpecHandler(filesystem)), path, f"{scheme}://")


def local_photos(root: Path) -> list[LocatedFile]:
    """List the photos of a local path as ``babelclip index`` does; links to folders are not followed.

    Invalid bytes in a name that is not UTF-8 are escaped, so that the file appears among the errors; pipes are skipped.

    :param root: a folder or a photo
    :return: the files, sorted by path
    :raises InputError: if the path does not exist, or a folder cannot be read
    """

    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename} cannot be read: {error.strerror}")

    files = []
    for path in photos_below(root, refuse):
        if path.exists() and not path.is_file():
            continue
        stat = path.stat(follow_symlinks=True) if path.exists() else path.lstat()
        name = str(path).encode("utf-8", "backslashreplace").decode("utf-8")
        files.append(LocatedFile(name, stat.st_size, stat.st_mtime_ns))
    return sorted(files, key=lambda file: file.path)


def _path(info: Any) -> str:
    """Return the path of a file, or an empty text if it is not UTF-8, which Arrow cannot represent."""
    try:
        return str(info.path)
    except UnicodeDecodeError:
        return ""


def _suffix(path: str) -> str:
    name = path.rpartition("/")[2]
    return name[name.rfind(".") :].lower() if "." in name else ""


def _hidden(path: str) -> bool:
    return DEFAULT_RULES.reason(path.split("/")) is not None
