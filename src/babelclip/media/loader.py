"""Image loader: the image of a photo in an index, which is a file, an archive member or a frame of a video."""

from pathlib import Path

from PIL import Image

from babelclip.errors import ImageError, InputError
from babelclip.media import raw, video
from babelclip.media.archives import source_of
from babelclip.media.crawl import kind_of
from babelclip.media.images import read_image


def load_image(path: str, at_ms: int | None = None, *, shown_at: int | None = None) -> Image.Image:
    """Load the image of a photo for display.

    :param path: path in the catalog
    :param at_ms: time in a video; None is its beginning
    :param shown_at: as in images.read_image
    :return: an RGB image, upright
    :raises ImageError: if it no longer exists, or cannot be read
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
