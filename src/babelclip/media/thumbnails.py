"""Small pictures of what a hit names: pixels alone, without anything that the file says of itself."""

import io

from PIL import Image

from babelclip.media.loader import load_image

JPEG_QUALITY = 82


def load_thumbnail(path: str, pixels: int, at_ms: int | None = None) -> Image.Image:
    """The picture behind a hit, made small.

    :param path: as the catalog names it: a file, a member of an archive, or a video
    :param pixels: its longer side at most
    :param at_ms: the time in a video; None is its beginning
    :return: an RGB image, upright, without metadata
    :raises ImageError: if it is not there any more, or cannot be read
    """
    image = load_image(path, at_ms, shown_at=pixels)
    image.thumbnail((pixels, pixels), Image.Resampling.LANCZOS)
    # A comment of the file would be written again from here.
    image.info = {}
    return image


def as_jpeg(image: Image.Image, quality: int = JPEG_QUALITY) -> bytes:
    """A picture as a file.

    :param image: an RGB image
    :param quality: JPEG's, up to 95
    :return: the bytes
    """
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()
