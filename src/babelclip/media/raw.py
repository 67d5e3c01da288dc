"""Pictures as the sensor had them (RAW): the preview that the camera put into the file, or a half-size rendering."""

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
    """Whether a file is one by its name; many begin like a TIFF file, so their bytes do not tell.

    :param name: a file name or path
    :return: whether it ends like one
    """
    return Path(name).suffix.lower() in SUFFIXES


def missing() -> str | None:
    """What keeps RAW files from being read.

    :return: the line that says how to install it, or None where it is there
    """
    return None if find_spec("rawpy") else str(MissingDependencyError("rawpy", extra="raw"))


def read_raw_metadata(source: Path | bytes) -> Metadata:
    """What a RAW file says of itself besides its EXIF; damage says nothing.

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
    """What a decoder can read of a file that is in memory.

    :param content: the bytes of the file
    :param name: its name or path, which alone tells a RAW file
    :return: the picture in a RAW file; the bytes of any other
    :raises ImageError: as preview
    """
    return preview(content, name) if is_raw(name) else content


def preview(source: Path | bytes, name: str) -> Image.Image:
    """The picture in a RAW file.

    :param source: the file or its bytes
    :param name: what to call it in messages
    :return: a picture whose EXIF orientation says how to turn it upright
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
    """The preview that the camera put into the file, if it is large enough."""
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
    """A RAW file."""
    import rawpy

    return rawpy.imread(io.BytesIO(source) if isinstance(source, bytes) else str(source))


def _words(said: object) -> str:
    """What LibRaw said, which may be bytes."""
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
