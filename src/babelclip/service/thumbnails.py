"""Small pictures of photos: pixels alone, without anything that the file says of itself."""

import asyncio
import io
from collections import OrderedDict
from pathlib import Path

from PIL import Image

from babelclip.errors import ImageError
from babelclip.pixels import read_image

SMALL_PIXELS = 320
JPEG_QUALITY = 80
KEPT_BYTES = 32 * 2**20
AT_ONCE = 2
"""Decoded at the same time, so that a page of hits leaves the processor to the models."""


class Thumbnails:
    """Makes small JPEGs, and keeps those asked for last."""

    def __init__(self) -> None:
        """Start with none."""
        self._kept: OrderedDict[tuple[str, int, int], bytes] = OrderedDict()
        self._bytes = 0
        self._places = asyncio.Semaphore(AT_ONCE)

    async def jpeg(self, path: str, pixels: int = SMALL_PIXELS) -> bytes | None:
        """A photo made small.

        :param path: of the photo
        :param pixels: its longer side at most
        :return: a JPEG without metadata, or None where the photo is gone or cannot be read
        """
        try:
            name = (path, Path(path).stat().st_mtime_ns, pixels)
            if name not in self._kept:
                async with self._places:
                    self._keep(name, await asyncio.to_thread(make_jpeg, path, pixels))
        except (ImageError, OSError):
            return None
        self._kept.move_to_end(name)
        return self._kept[name]

    def _keep(self, name: tuple[str, int, int], made: bytes) -> None:
        """Keep one, and drop the oldest that are too many; the newest always stays."""
        self._bytes += len(made) - len(self._kept.pop(name, b""))
        self._kept[name] = made
        while self._bytes > KEPT_BYTES and len(self._kept) > 1:
            self._bytes -= len(self._kept.popitem(last=False)[1])


def make_jpeg(path: str, pixels: int) -> bytes:
    """A picture file made small.

    :param path: the file
    :param pixels: its longer side at most
    :return: a JPEG, upright and in sRGB, without metadata
    :raises ImageError: if the file cannot be read
    """
    image = read_image(path)
    image.thumbnail((pixels, pixels), Image.Resampling.LANCZOS)
    # A comment of the file would be written again from here.
    image.info = {}
    file = io.BytesIO()
    image.save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()
