"""Thumbnails of hits: JPEGs without metadata, cached by path, time of change and size."""

import asyncio
from collections import OrderedDict

from babelclip.errors import ImageError
from babelclip.media.archives import file_of
from babelclip.media.crawl import kind_of
from babelclip.media.thumbnails import as_jpeg, load_thumbnail

SMALL_PIXELS = 320
KEPT_BYTES = 32 * 2**20
AT_ONCE = 2
"""Images that are decoded at the same time, so that a page of hits leaves the processor to the models."""

_Name = tuple[str, int, int, int | None]
"""Path, time of change in ns, pixels, time in a video in ms."""


class ThumbnailCache:
    """Makes thumbnails, and caches the most recently used ones."""

    def __init__(self) -> None:
        """Create an empty cache."""
        self._kept: OrderedDict[_Name, bytes] = OrderedDict()
        self._bytes = 0
        self._places = asyncio.Semaphore(AT_ONCE)

    async def jpeg(self, path: str, pixels: int = SMALL_PIXELS, *, at_ms: int | None = None) -> bytes | None:
        """Make a thumbnail of a photo, a member of an archive, or a frame of a video.

        :param path: path of the photo in the index
        :param pixels: limit of the longer side
        :param at_ms: time in a video; ignored for other media
        :return: a JPEG without metadata, or None if the photo is missing or cannot be decoded
        """
        time = at_ms if kind_of(path) == "video" else None
        try:
            name = (path, file_of(path).stat().st_mtime_ns, pixels, time)
            if name not in self._kept:
                async with self._places:
                    self._keep(name, await asyncio.to_thread(_made, path, pixels, time))
        except (ImageError, OSError):
            return None
        self._kept.move_to_end(name)
        return self._kept[name]

    def _keep(self, name: _Name, made: bytes) -> None:
        """Add a thumbnail, and drop the least recently used ones over KEPT_BYTES; the newest always stays."""
        self._bytes += len(made) - len(self._kept.pop(name, b""))
        self._kept[name] = made
        while self._bytes > KEPT_BYTES and len(self._kept) > 1:
            self._bytes -= len(self._kept.popitem(last=False)[1])


def _made(path: str, pixels: int, at_ms: int | None) -> bytes:
    return as_jpeg(load_thumbnail(path, pixels, at_ms))
