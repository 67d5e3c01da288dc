"""A look at a file: whether it is as the catalog knows it, else its hash and what it says of itself."""

import hashlib
import io
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from babelclip.catalog.catalog import Known, Photo
from babelclip.errors import ArchiveError, ImageError, InputError
from babelclip.media import raw, video
from babelclip.media.archives import Member
from babelclip.media.crawl import Found
from babelclip.media.images import register_formats
from babelclip.media.metadata import DAMAGE, FACTS_VERSION, Facts, facts_of, merged
from babelclip.settings import settings

MAX_SIDECAR_BYTES = 4 * 2**20
NOTHING = Facts()


@dataclass(frozen=True, slots=True)
class Look:
    """What a look found; ``photo`` is None where the file is as the catalog knows it.

    ``same`` says that its content is settled, and only what it says of itself was read anew. ``data`` are the bytes of
    a member of an archive; ``damaged`` says that it has none that can be read, now or later.
    """

    photo: Photo | None
    facts: Facts = NOTHING
    same: bool = False
    data: bytes | None = None
    damaged: bool = False


def look(found: Found, known: Known | None) -> Look:
    """Look at a file. Safe to call from several threads.

    :param found: the file
    :param known: what the catalog knows of it
    :return: what is new
    """
    path = found.path
    size = mtime = sidecar = 0
    try:
        if not storable(path):
            return Look(Photo(path, 0, 0, None, "its name is not valid UTF-8; rename it"))
        size, mtime = plain_file(path)
        sidecar = _time_of(found.sidecar)
        same = known is not None and (known.size, known.mtime_ns) == (size, mtime)
        if known is not None and same and (known.facts, known.sidecar_ns) == (FACTS_VERSION, sidecar):
            return Look(None)
        problem = _refusal(found, size)
        if problem is not None:
            return Look(None) if same else Look(Photo(path, size, mtime, None, problem, sidecar))
        digest = None
        if not same:
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").digest()
        return Look(Photo(path, size, mtime, digest, None, sidecar), _facts(found), same)
    except OSError as error:
        return Look(Photo(path, size, mtime, None, error.strerror or str(error), sidecar))


def look_inside(member: Member, known: Known | None, mtime_ns: int) -> Look:
    """Look at a member of an archive.

    :param member: the member
    :param known: what the catalog knows of it
    :param mtime_ns: the archive's time
    :return: what is new, with the member's bytes
    """
    path = member.path
    if not storable(path):
        return Look(Photo(path, 0, 0, None, "its name is not valid UTF-8"))
    if known == Known(member.size, mtime_ns, 0, FACTS_VERSION):
        return Look(None)
    problem = _refusal(Found(path, "image"), member.size)
    if problem is not None:
        return Look(Photo(path, member.size, mtime_ns, None, problem))
    try:
        data = member.read()
    except InputError as error:
        damaged = isinstance(error, ArchiveError)
        return Look(Photo(path, member.size, mtime_ns, None, str(error)), damaged=damaged)
    photo = Photo(path, member.size, mtime_ns, hashlib.sha256(data).digest())
    return Look(photo, _picture_facts(data, path, None), data=data)


def plain_file(path: str) -> tuple[int, int]:
    """The size and time of a file; a pipe would be waited for without end.

    :param path: the file, or a link to it
    :return: (bytes, ns)
    :raises OSError: if it cannot be looked at, or is not a plain file
    """
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise OSError("not a plain file, but a pipe, a socket or a device")
    return found.st_size, found.st_mtime_ns


def storable(name: str) -> bool:
    """Whether a path can be kept as text; file names on Linux may be any bytes.

    :param name: the path
    :return: whether it is valid UTF-8
    """
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _refusal(found: Found, size: int) -> str | None:
    """Why a file is not even read: it is too large, or what reads its kind is not installed."""
    if found.kind == "video":
        return video.missing()
    limit = settings().max_image_bytes
    if size > limit:
        return f"{size} bytes, over the limit of {limit} (BABELCLIP_MAX_IMAGE_BYTES)"
    return raw.missing() if raw.is_raw(found.path) else None


def _time_of(sidecar: str | None) -> int:
    """The time of change of a sidecar; 0 where there is none."""
    try:
        return os.stat(sidecar).st_mtime_ns if sidecar else 0
    except OSError:
        return 0


def _facts(found: Found) -> Facts:
    """What a file and its sidecar say of it."""
    sidecar = _read_sidecar(found.sidecar)
    if found.kind == "video":
        return merged([video.facts_of_video(found.path)], sidecar)
    return _picture_facts(Path(found.path), found.path, sidecar)


def _read_sidecar(path: str | None) -> bytes | None:
    """The bytes of a sidecar of a sensible size."""
    with suppress(OSError):
        if path is not None and plain_file(path)[0] <= MAX_SIDECAR_BYTES:
            return Path(path).read_bytes()
    return None


def _picture_facts(source: Path | bytes, name: str, sidecar: bytes | None) -> Facts:
    """What a picture says of itself; one that cannot be opened says nothing, and decoding will say why."""
    register_formats()
    found = []
    if raw.is_raw(name):
        found.append(merged([raw.facts_of_raw(source)], sidecar))
        with suppress(ImageError):
            found.append(facts_of(raw.preview(source, name), sidecar))
    with suppress(*DAMAGE), Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
        found.append(facts_of(image, sidecar))
    return merged(found)
