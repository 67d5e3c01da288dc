"""Pictures -> the square of pixels that an image tower reads: RGB, upright, opaque, bounded.

The order is that of transformers' CLIPImageProcessor (Pillow back end): convert, resize, cut from the centre. The
resized pixels are whole numbers there as here, so both give the same bytes; scaling to floats happens in the graph.
Beyond the processor: EXIF orientation is applied, transparency is laid over white, ICC profiles become sRGB.
"""

import functools
import io
import math
import re
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, ImageFile, ImageOps, UnidentifiedImageError

from babelclip.checkpoints.specs import PixelSpec
from babelclip.errors import ImageError, ImageTooLargeError
from babelclip.media import raw
from babelclip.settings import settings

Pixels = NDArray[np.uint8]
ImageInput = str | Path | bytes | Image.Image | NDArray[Any]
"""What an image may be given as. A ``str`` is a path here; where texts and images are mixed it is a text."""

# What Pillow's decoders raise on damaged files.
_DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    EOFError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
HEIF_BRANDS = frozenset(b"heic heix heim heis hevc hevx hevm hevs mif1 msf1".split())
"""What stands behind "ftyp" in the files that pillow-heif reads."""
_MAX_NAME = 200
ENOUGH, ENOUGH_STRETCHED = 2, 4
"""How many times larger than the resized picture a decoded one must be, on either side. The second is for towers that
read a picture stretched to their square: those are convolutions, and feel more of it (docs/explanation/speed.md).
"""
ENOUGH_SHOWN = 1.5
"""The same for people to look at: 12 megapixels are then read at half their size for 1280 pixels, an eighth for 320."""
LONGEST = 64
"""A picture whose sides are as 1 to more than this is cut to its middle before it is resized, not after: a line of
pixels would become gigabytes, of which the tower reads the middle.
"""

_Enough = Callable[[tuple[int, int]], tuple[int, int]]
"""The size of a picture -> the size that its decoded form must have at least."""


def describe(source: ImageInput) -> str:
    """A name for an image in messages.

    :param source: the image as it was given
    :return: its path, or what kind of thing it is
    """
    if isinstance(source, str | Path):
        return str(source)[:_MAX_NAME]
    if isinstance(source, bytes):
        return f"image of {len(source)} bytes"
    if isinstance(source, Image.Image):
        return f"PIL image {source.size[0]}x{source.size[1]}"
    return f"array of shape {getattr(source, 'shape', '?')}"


def read_image(source: ImageInput, *, shown_at: int | None = None) -> Image.Image:
    """One picture, ready to be looked at: mode RGB, upright, opaque, sRGB; the first frame of an animation.

    :param source: a path, the bytes of a file, a PIL image, or an array: uint8 or float 0..1, (h, w) or (h, w, 1|3|4)
    :param shown_at: the longer side to which it will be made smaller; a JPEG is then decoded no larger than it
        must be to have ENOUGH_SHOWN times that
    :return: an RGB image
    :raises ImageTooLargeError: if it has more bytes or pixels than the settings allow
    :raises ImageError: if it is missing, damaged, cut short or not a picture; the message names it
    """
    return _read(source, None if shown_at is None else functools.partial(_enough_to_show, pixels=shown_at))


def _read(source: ImageInput, enough: _Enough | None) -> Image.Image:
    """As read_image; where it is said how large is enough, a JPEG may be smaller than it is."""
    if isinstance(source, np.ndarray):
        return _opaque(_plain_mode(_from_array(source)))
    if isinstance(source, Image.Image):
        return _finish(source, describe(source))
    if isinstance(source, str | Path) and raw.is_raw(str(source)):
        return _finish(raw.preview(Path(source), describe(source)), describe(source))
    register_formats()
    try:
        with Image.open(_open_bytes(source)) as image:
            return _finish(image, describe(source), enough)
    except ImageError:
        raise
    except FileNotFoundError:
        raise ImageError(f"{describe(source)}: no such file") from None
    except UnidentifiedImageError:
        raise ImageError(f"{describe(source)}: not a picture in a known format") from None
    except Image.DecompressionBombError as error:
        pixels = re.findall(r"\d+ pixels", str(error))[:1] or ["pixels"]
        raise _over_pixels(describe(source), pixels[0]) from None
    except _DECODER_ERRORS as error:
        raise ImageError(f"{describe(source)}: cannot be decoded: {error}") from None


def read_pixels(source: ImageInput, spec: PixelSpec) -> Pixels:
    """One picture as a tower reads it: ``read_image`` and ``to_pixels``, and faster where a JPEG is large.

    libjpeg can give a JPEG at a half, a quarter or an eighth of its size for a part of the work. The smallest that is
    still ENOUGH times as large as the tower's square is taken, unless BABELCLIP_REDUCED_DECODING is 0. What the tower
    makes of it differs a little from the exact answer; docs/explanation/speed.md says how little.

    :param source: as in read_image
    :param spec: the tower's preprocessing
    :return: uint8 (height, width, 3)
    :raises ImageTooLargeError: if it has more bytes or pixels than the settings allow
    :raises ImageError: if it is missing, damaged, cut short or not a picture; the message names it
    """
    enough = functools.partial(_enough, spec=spec) if settings().reduced_decoding else None
    return to_pixels(_read(source, enough), spec)


def to_pixels(image: Image.Image, spec: PixelSpec) -> Pixels:
    """Resize and cut one picture as the tower's processor does.

    :param image: an RGB image
    :param spec: the tower's preprocessing
    :return: uint8 (height, width, 3)
    """
    if isinstance(spec.resize, tuple):
        height, width = spec.resize
    else:
        if spec.crop is not None and max(image.size) > LONGEST * min(image.size):
            image = _middle(image, LONGEST * min(image.size))
        short, long = sorted(image.size)
        # Not rounded but cut, as transformers does; others differ by a pixel here.
        longer = int(spec.resize * long / short)
        width, height = (spec.resize, longer) if image.width <= image.height else (longer, spec.resize)
    resized = image.resize((width, height), resample=Image.Resampling(spec.resample))
    array = np.asarray(resized)
    return array if spec.crop is None else _centre_crop(array, spec.crop)


def _middle(image: Image.Image, longest: int) -> Image.Image:
    """The middle of a picture, no longer than so many pixels."""
    width, height = min(image.width, longest), min(image.height, longest)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _centre_crop(array: Pixels, size: tuple[int, int]) -> Pixels:
    """The middle of a picture; where it is smaller than the cut, black is set around it (transformers' center_crop)."""
    height, width = size
    pad_y, pad_x = max(0, height - array.shape[0]), max(0, width - array.shape[1])
    if pad_y or pad_x:
        array = np.pad(array, ((-(-pad_y // 2), pad_y // 2), (-(-pad_x // 2), pad_x // 2), (0, 0)))
    top, left = (array.shape[0] - height) // 2, (array.shape[1] - width) // 2
    return np.ascontiguousarray(array[top : top + height, left : left + width])


def _is_heif(start: bytes) -> bool:
    """Whether a file that begins so is one that pillow-heif reads."""
    return start[4:8] == b"ftyp" and start[8:12] in HEIF_BRANDS


def _open_heif(file: IO[bytes], name: str | bytes) -> ImageFile.ImageFile:
    """A HEIC or HEIF picture; the decoder takes 3 MiB, and start-up time."""
    from pillow_heif import HeifImageFile

    opened: ImageFile.ImageFile = HeifImageFile(file, name)
    return opened


@functools.cache
def register_formats() -> None:
    """Teach Pillow HEIC, of which the decoder is loaded at the first one; AVIF it knows by itself."""
    Image.register_open("HEIF", _open_heif, _is_heif)
    # Pillow warns from 89 million pixels on; the limit here is ours, and an error. It refuses twice as many.
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
    if Image.MAX_IMAGE_PIXELS is not None:
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, settings().max_image_pixels)


def _open_bytes(source: str | Path | bytes) -> io.BytesIO | Path:
    """What Pillow opens, after the limit of bytes."""
    limit = settings().max_image_bytes
    size = len(source) if isinstance(source, bytes) else Path(source).stat().st_size
    if size > limit:
        raise ImageTooLargeError(
            f"{describe(source)}: {size} bytes, over the limit of {limit}; BABELCLIP_MAX_IMAGE_BYTES raises it"
        )
    if size == 0:
        raise ImageError(f"{describe(source)}: the file is empty")
    return io.BytesIO(source) if isinstance(source, bytes) else Path(source)


def _finish(image: Image.Image, name: str, enough: _Enough | None = None) -> Image.Image:
    """Bound, decode, turn upright, lay over white, and bring to sRGB; smaller where that is enough."""
    limit = settings().max_image_pixels
    if image.width * image.height > limit:
        raise _over_pixels(name, f"{image.width} x {image.height} pixels")
    if 0 in image.size:
        raise ImageError(f"{name}: {image.width} x {image.height} pixels: nothing to see")
    try:
        if enough is not None:
            image.draft(None, enough(image.size))
        image.load()
    except _DECODER_ERRORS as error:
        raise ImageError(f"{name}: cannot be decoded: {error}") from None
    profile = image.info.get("icc_profile")
    return _opaque(_to_srgb(_plain_mode(_eight_bit(_upright(image))), profile))


def _over_pixels(name: str, pixels: str) -> ImageTooLargeError:
    limit = settings().max_image_pixels
    return ImageTooLargeError(f"{name}: {pixels}, over the limit of {limit}; BABELCLIP_MAX_IMAGE_PIXELS raises it")


def _enough(size: tuple[int, int], spec: PixelSpec) -> tuple[int, int]:
    """The size below which a picture may not be decoded. EXIF may turn it, so both sides count alike."""
    if isinstance(spec.resize, tuple):
        side = ENOUGH_STRETCHED * max(spec.resize)
        return side, side
    return _scaled(size, ENOUGH * spec.resize / min(size))


def _enough_to_show(size: tuple[int, int], pixels: int) -> tuple[int, int]:
    """The same for a picture that will have so many pixels on its longer side."""
    return _scaled(size, ENOUGH_SHOWN * pixels / max(size))


def _scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    return math.ceil(size[0] * scale), math.ceil(size[1] * scale)


def _upright(image: Image.Image) -> Image.Image:
    """Turn a picture as its EXIF orientation says; damaged EXIF says nothing."""
    try:
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
        return ImageOps.exif_transpose(image) if turned else image
    except _DECODER_ERRORS:
        return image


def _eight_bit(image: Image.Image) -> Image.Image:
    """Deep grey modes as mode L: 16 bits lose their lower half; floats are taken as 0..1 where they fit in it."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
    if image.mode not in ("I", "F"):
        return image
    values = np.nan_to_num(np.asarray(image, dtype=np.float64))
    top = values.max()
    scale = 255.0 if image.mode == "F" and top <= 1.0 else 1.0 if top <= 255 else 1 / 257
    return Image.fromarray(np.clip(np.rint(values * scale), 0, 255).astype(np.uint8))


@functools.cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _plain_mode(image: Image.Image) -> Image.Image:
    """One of RGB, RGBA, CMYK and L: whatever is transparent in any way becomes RGBA."""
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        return image.convert("RGBA")
    return image if image.mode in ("RGB", "CMYK", "L") else image.convert("RGB")


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Apply an embedded colour profile; one that is damaged or does not fit the picture is left out, as browsers do."""
    if not profile:
        return image
    try:
        embedded = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(embedded):
            return image
        mode = "RGBA" if image.mode == "RGBA" else "RGB"
        # The intent of every browser: perceptual.
        return ImageCms.profileToProfile(image, embedded, _srgb(), ImageCms.Intent.PERCEPTUAL, mode) or image
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image


def _opaque(image: Image.Image) -> Image.Image:
    """Mode RGB, with what is transparent laid over white."""
    if image.mode == "RGBA":
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _from_array(array: NDArray[Any]) -> Image.Image:
    """An image from numbers."""
    name = describe(array)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))) or 0 in array.shape:
        raise ImageError(f"{name}: an image array is (h, w), (h, w, 1), (h, w, 3) or (h, w, 4), and not empty")
    if array.shape[0] * array.shape[1] > settings().max_image_pixels:
        raise _over_pixels(name, f"{array.shape[1]} x {array.shape[0]} pixels")
    if array.dtype.kind == "f":
        if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
            raise ImageError(f"{name}: float values must be finite and in 0..1")
        array = np.rint(array * 255).astype(np.uint8)
    elif array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    elif array.dtype != np.uint8:
        raise ImageError(f"{name}: values must be uint8 or floats in 0..1, not {array.dtype}")
    return Image.fromarray(np.ascontiguousarray(array))
