"""RAW pictures: the preview that the camera embedded, or a half-size rendering."""

import io
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import ExifTags, Image

from babelclip.errors import ImageError, MissingDependencyError
from babelclip.media.metadata import Metadata, iso_time

if TYPE_CHECKING:
    from rawpy import RawPy

_KINDS = "3fr arw cr2 cr3 dcr dng erf iiq kdc mef mos mrw nef nrw orf pef raf raw rw2 rwl sr2 srf srw x3f"
SUFFIXES = frozenset("." + kind for kind in _KINDS.split())
MIN_PREVIEW_SIDE = 224
"""A smaller preview is a thumbnail, and the picture is rendered instead."""
_ORIENTATION_OF_FLIP = {3: 3, 5: 8, 6: 6}
_TURNED = (5, 6)


def is_raw(name: str) -> bool:
    """Check whether a file is a RAW picture by its name: many begin like a TIFF file, so their bytes do not show it.

    :param name: a file name or path
    :return: whether its suffix is one of SUFFIXES
    """
    return Path(name).suffix.lower() in SUFFIXES


def missing() -> str | None:
    """Check for the package that reads RAW files.

    :return: a message with the install line; None if it is installed
    """
    return None if find_spec("rawpy") else str(MissingDependencyError("rawpy", extra="raw"))


def read_raw_metadata(source: Path | bytes) -> Metadata:
    """Read the metadata that a RAW file states besides its EXIF; empty for a damaged file.

    :param source: the file or its bytes
    :return: size and time
    """
    if missing():
        return Metadata()
    import rawpy

    try:
        with _open(source) as raw:
            width, height = raw.sizes.width, raw.sizes.height
            if raw.sizes.flip in _TURNED:
                width, height = height, width
            other = getattr(raw, "other", None)
            taken = other.timestamp if other is not None else None
            return Metadata(
                width=width, height=height, taken_at=iso_time(taken if taken and taken.year > 1970 else None)
            )
    except (rawpy.LibRawError, OSError, ValueError, MemoryError):
        return Metadata()


def as_picture(content: bytes, name: str) -> bytes | Image.Image:
    """Convert a file in memory to something that a decoder reads.

    :param content: the bytes of the file
    :param name: its name or path, by which a RAW file is recognized
    :return: the picture in a RAW file; the bytes of any other file
    :raises ImageError: as preview
    """
    return preview(content, name) if is_raw(name) else content


def preview(source: Path | bytes, name: str) -> Image.Image:
    """Read the picture in a RAW file.

    :param source: the file or its bytes
    :param name: its name, for messages
    :return: a picture with its EXIF orientation, not yet turned upright
    :raises ImageError: if it cannot be read, or rawpy is not installed
    """
    if problem := missing():
        raise ImageError(f"{name}: {problem}")
    import rawpy

    try:
        with _open(source) as raw:
            image = _embedded(raw)
            return Image.fromarray(raw.postprocess(half_size=True, use_camera_wb=True)) if image is None else image
    except FileNotFoundError:
        raise ImageError(f"{name}: no such file") from None
    except (rawpy.LibRawError, OSError, ValueError, SyntaxError, MemoryError) as error:
        said = error.args[0] if error.args else error
        raise ImageError(f"{name}: not a RAW file that can be read: {_words(said)}") from None


def _embedded(raw: "RawPy") -> Image.Image | None:
    """Read the embedded preview; None if it is missing or too small."""
    import rawpy

    try:
        data = raw.extract_thumb().data
    except (rawpy.LibRawNoThumbnailError, rawpy.LibRawUnsupportedThumbnailError):
        return None
    image = Image.open(io.BytesIO(data)) if isinstance(data, bytes) else Image.fromarray(data)
    if min(image.size) < MIN_PREVIEW_SIDE:
        return None
    exif = image.getexif()
    if ExifTags.Base.Orientation not in exif:
        exif[ExifTags.Base.Orientation] = _ORIENTATION_OF_FLIP.get(raw.sizes.flip, 1)
    return image


def _open(source: Path | bytes) -> "RawPy":
    """Open a RAW file."""
    import rawpy

    return rawpy.imread(io.BytesIO(source) if isinstance(source, bytes) else str(source))


def _words(said: object) -> str:
    """Decode a message of LibRaw, which may be bytes."""
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
