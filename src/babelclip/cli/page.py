"""The parts that pages share: a whole HTML file with its style, and thumbnails inside it."""

import base64
import html
from pathlib import Path

from PIL import Image

from babelclip.errors import ImageError
from babelclip.thumbnails import as_jpeg, read_small

THUMBNAIL_PIXELS = 240

SHEET_STYLE = """
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; }
body { margin: 0 auto; padding: 1.5rem; max-width: 1400px; }
h1 { font-size: 1.25rem; font-weight: 600; }
h2 { font-size: 1.1rem; font-weight: 600; margin: 2rem 0 .6rem; }
h2 small { font-weight: 400; opacity: .75; }
ol { list-style: none; margin: 0; padding: 0; display: grid; gap: .8rem;
     grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); direction: ltr; }
figure { margin: 0; }
img, .missing { width: 100%; height: auto; aspect-ratio: 1; object-fit: contain;
                border-radius: 6px; background: #8882; }
.missing { display: grid; place-items: center; opacity: .7; }
figcaption { font-size: .8rem; overflow-wrap: anywhere; opacity: .85; }
meter { width: 100%; height: .5rem; }
"""


def write_page(path: Path, title: str, body: str, *, style: str = SHEET_STYLE) -> None:
    """Write a page that needs nothing but itself.

    :param path: the file to write; its folder is made if need be
    :param title: what the browser's tab says
    :param body: HTML
    :param style: CSS
    """
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(page.encode("utf-8", "xmlcharrefreplace"))


def small(path: str, pixels: int = THUMBNAIL_PIXELS, at_ms: int | None = None) -> Image.Image | None:
    """A picture made small.

    :param path: its path
    :param pixels: its longer side at most
    :param at_ms: the time in a video; None is its beginning
    :return: an RGB image; None where the picture is gone or cannot be read
    """
    try:
        return read_small(path, pixels, at_ms)
    except ImageError:
        return None


def inline_jpeg(image: Image.Image) -> str:
    """A picture as an address that holds the picture itself.

    :param image: an RGB image
    :return: a data URI
    """
    return "data:image/jpeg;base64," + base64.b64encode(as_jpeg(image)).decode("ascii")


def thumbnail(path: str, at_ms: int | None = None) -> str:
    """The picture, small, as an inline JPEG; a note where it is gone.

    :param path: its path
    :param at_ms: the time in a video; None is its beginning
    :return: HTML
    """
    image = small(path, at_ms=at_ms)
    if image is None:
        return '<div class="missing">not there any more</div>'
    name = html.escape(Path(path).name)
    return f'<img alt="{name}" width="{image.width}" height="{image.height}" src="{inline_jpeg(image)}">'


def figure(path: str, caption: str, at_ms: int | None = None) -> str:
    """One item of a sheet: the thumbnail above a caption; the whole path shows where the pointer rests.

    :param path: the picture's path
    :param caption: HTML
    :param at_ms: the time in a video; None is its beginning
    :return: HTML
    """
    inside = f"{thumbnail(path, at_ms)}<figcaption>{caption}</figcaption>"
    return f'<li><figure title="{html.escape(path)}">{inside}</figure></li>\n'
