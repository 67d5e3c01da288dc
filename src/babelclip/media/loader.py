"""The picture behind a hit: a file, a member of an archive, or a frame of a video."""

from pathlib import Path

from PIL import Image

from babelclip.errors import ImageError, InputError
from babelclip.media import raw, video
from babelclip.media.archives import source_of
from babelclip.media.crawl import kind_of
from babelclip.media.images import read_image


def load_image(path: str, at_ms: int | None = None, *, shown_at: int | None = None) -> Image.Image:
    """The picture behind a hit, ready to be looked at.

    :param path: as the catalog names it
    :param at_ms: the time in a video; None is its beginning
    :param shown_at: as in pixels.read_image
    :return: an RGB image, upright
    :raises ImageError: if it is not there any more, or cannot be read
    """
    if at_ms is not None or kind_of(path) == "video":
        if not Path(path).is_file():
            raise ImageError(f"{path}: no such file")
        return video.frame_at(path, at_ms or 0)
    try:
        source = source_of(path)
    except ImageError:
        raise
    except InputError as error:
        raise ImageError(str(error)) from None
    return read_image(raw.as_picture(source, path) if isinstance(source, bytes) else source, shown_at=shown_at)
