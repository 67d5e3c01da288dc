"""Thumbnails of photos in an index: pixels only, without metadata."""

import io

from PIL import Image

from babelclip.media.loader import load_image

JPEG_QUALITY = 82


def load_thumbnail(path: str, pixels: int, at_ms: int | None = None) -> Image.Image:
    """Load the thumbnail of a photo.

    :param path: path in the catalog: a file, a member of an archive, or a video
    :param pixels: maximum length of the longer side
    :param at_ms: time in a video; None is its beginning
    :return: an RGB image, upright, without metadata
    :raises ImageError: if it no longer exists, or cannot be read
    """
    image = load_image(path, at_ms, shown_at=pixels)
    image.thumbnail((pixels, pixels), Image.Resampling.LANCZOS)
    # Pillow would write a comment of the file into the thumbnail.
    image.info = {}
    return image


def as_jpeg(image: Image.Image, quality: int = JPEG_QUALITY) -> bytes:
    """Encode a picture as JPEG.

    :param image: an RGB image
    :param quality: JPEG's, up to 95
    :return: the bytes
    """
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()
