"""Scan of a file: comparison with its state in the catalog, and its hash and metadata where they differ."""

import hashlib
import io
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from babelclip.catalog.records import FileState, Photo
from babelclip.errors import ArchiveError, ImageError, InputError
from babelclip.media import raw, video
from babelclip.media.archives import ArchiveMember
from babelclip.media.crawl import MediaFile
from babelclip.media.images import register_formats
from babelclip.media.metadata import (
    METADATA_ERRORS,
    METADATA_VERSION,
    NO_METADATA,
    Metadata,
    merge_metadata,
    read_metadata,
)
from babelclip.settings import settings

MAX_SIDECAR_BYTES = 4 * 2**20


@dataclass(frozen=True, slots=True)
class ScanResult:
    """Result of a scan; ``photo`` is None where the file is unchanged.

    ``metadata_only`` says that the content is unchanged, and only the metadata was read again. ``content`` holds the
    bytes of an archive member; ``damaged`` says that the member cannot be read, now or later.
    """

    photo: Photo | None
    metadata: Metadata = NO_METADATA
    metadata_only: bool = False
    content: bytes | None = None
    damaged: bool = False


def scan_file(file: MediaFile, state: FileState | None) -> ScanResult:
    """Scan a file. Safe to call from several threads.

    :param file: the file
    :param state: its state in the catalog; None for a new file
    :return: what changed
    """
    path = file.path
    size = mtime_ns = sidecar_ns = 0
    try:
        if not is_utf8(path):
            return ScanResult(Photo(path, 0, 0, None, "its name is not valid UTF-8; rename it"))
        size, mtime_ns = stat_regular_file(path)
        sidecar_ns = _mtime_ns(file.sidecar)
        same_content = state is not None and (state.size, state.mtime_ns) == (size, mtime_ns)
        same_metadata = state is not None and (state.metadata_version, state.sidecar_ns) == (
            METADATA_VERSION,
            sidecar_ns,
        )
        if same_content and same_metadata:
            return ScanResult(None)
        problem = _refusal(file, size)
        if problem is not None:
            return ScanResult(None if same_content else Photo(path, size, mtime_ns, None, problem, sidecar_ns))
        digest = None
        if not same_content:
            with open(path, "rb") as opened:
                digest = hashlib.file_digest(opened, "sha256").digest()
        return ScanResult(Photo(path, size, mtime_ns, digest, None, sidecar_ns), _file_metadata(file), same_content)
    except OSError as error:
        return ScanResult(Photo(path, size, mtime_ns, None, error.strerror or str(error), sidecar_ns))


def scan_member(member: ArchiveMember, state: FileState | None, mtime_ns: int) -> ScanResult:
    """Scan a member of an archive.

    :param member: the member
    :param state: its state in the catalog; None for a new member
    :param mtime_ns: the archive's time of change
    :return: what changed, with the member's bytes
    """
    path = member.path
    if not is_utf8(path):
        return ScanResult(Photo(path, 0, 0, None, "its name is not valid UTF-8"))
    if state == FileState(member.size, mtime_ns, 0, METADATA_VERSION):
        return ScanResult(None)
    problem = _refusal(MediaFile(path, "image"), member.size)
    if problem is not None:
        return ScanResult(Photo(path, member.size, mtime_ns, None, problem))
    try:
        content = member.read()
    except InputError as error:
        damaged = isinstance(error, ArchiveError)
        return ScanResult(Photo(path, member.size, mtime_ns, None, str(error)), damaged=damaged)
    photo = Photo(path, member.size, mtime_ns, hashlib.sha256(content).digest())
    return ScanResult(photo, _picture_metadata(content, path, None), content=content)


def stat_regular_file(path: str) -> tuple[int, int]:
    """Read size and time of change of a regular file. Reading a pipe would block without end, so it is refused.

    :param path: the file, or a link to it
    :return: (bytes, ns)
    :raises OSError: if it cannot be read, or is not a regular file
    """
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise OSError("not a plain file, but a pipe, a socket or a device")
    return status.st_size, status.st_mtime_ns


def is_utf8(name: str) -> bool:
    """Check whether a path can be stored as text; file names on Linux may be any bytes.

    :param name: the path
    :return: whether it is valid UTF-8
    """
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def has_changed(photo: Photo, file: str) -> bool:
    """Check whether a file was changed since it was scanned.

    :param photo: the photo as it was scanned
    :param file: the file that holds it: its own path, or its archive
    :return: whether the file is gone, or its size or time of change differ
    """
    try:
        status = os.stat(file)
    except OSError:
        return True
    return status.st_mtime_ns != photo.mtime_ns or (file == photo.path and status.st_size != photo.size)


def _refusal(file: MediaFile, size: int) -> str | None:
    """Reason not to read a file at all: it is too large, or the package that reads it is not installed."""
    if file.kind == "video":
        return video.missing()
    limit = settings().max_image_bytes
    if size > limit:
        return f"{size} bytes, over the limit of {limit} (BABELCLIP_MAX_IMAGE_BYTES)"
    return raw.missing() if raw.is_raw(file.path) else None


def _mtime_ns(sidecar: str | None) -> int:
    """Time of change of a sidecar; 0 without one."""
    try:
        return os.stat(sidecar).st_mtime_ns if sidecar else 0
    except OSError:
        return 0


def _file_metadata(file: MediaFile) -> Metadata:
    """Read the metadata of a file and its sidecar."""
    sidecar = _read_sidecar(file.sidecar)
    if file.kind == "video":
        return merge_metadata([video.read_video_metadata(file.path)], sidecar)
    return _picture_metadata(Path(file.path), file.path, sidecar)


def _read_sidecar(path: str | None) -> bytes | None:
    """Read a sidecar; None if there is none, or it is too large."""
    with suppress(OSError):
        if path is not None and stat_regular_file(path)[0] <= MAX_SIDECAR_BYTES:
            return Path(path).read_bytes()
    return None


def _picture_metadata(source: Path | bytes, name: str, sidecar: bytes | None) -> Metadata:
    """Read the metadata of a picture; empty if it cannot be opened: decoding reports the reason."""
    register_formats()
    sources = []
    if raw.is_raw(name):
        sources.append(merge_metadata([raw.read_raw_metadata(source)], sidecar))
        with suppress(ImageError):
            sources.append(read_metadata(raw.preview(source, name), sidecar))
    with (
        suppress(*METADATA_ERRORS),
        Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image,
    ):
        sources.append(read_metadata(image, sidecar))
    return merge_metadata(sources)
