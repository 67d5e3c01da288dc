"""The parts that pages share: a whole HTML file with its style, and thumbnails inside it."""

import base64
import html
from pathlib import Path

from PIL import Image

from babelclip.errors import ImageError
from babelclip.media.thumbnails import as_jpeg, load_thumbnail

THUMBNAIL_PIXELS = 240

SHEET_STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif;
        --ground: light-dark(#f7f7f4, #14161a); --card: light-dark(#fff, #1d2026); --ink: light-dark(#1b1d21, #eceae6);
        --soft: light-dark(#5a5f68, #a6abb5); --frame: light-dark(#ecece7, #262a31); }
body { margin: 0 auto; padding: 2rem clamp(1rem, 4vw, 2.5rem); max-width: 1500px;
       background: var(--ground); color: var(--ink); }
h1 { font-size: 1.5rem; line-height: 1.3; letter-spacing: -.01em; margin: 0 0 .5rem; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .8rem; }
h2 small { font-weight: 400; font-size: .9rem; color: var(--soft); margin-inline-start: .4rem; }
p { color: var(--soft); max-width: 70ch; }
ol { list-style: none; margin: 0; padding: 0; display: grid; gap: 1rem;
     grid-template-columns: repeat(auto-fill, minmax(min(200px, 44%), 1fr)); }
figure { margin: 0; height: 100%; overflow: hidden; border-radius: 14px; background: var(--card);
         box-shadow: 0 1px 2px #0001, 0 6px 24px light-dark(#0000000d, #0005); }
img, .missing { display: block; width: 100%; height: auto; aspect-ratio: 4/3; object-fit: contain;
                background: var(--frame); }
.missing { display: grid; place-items: center; color: var(--soft); font-size: .85rem; }
figcaption { padding: .55rem .75rem .7rem; font-size: .82rem; overflow-wrap: anywhere; display: grid; gap: .3rem; }
figcaption small { color: var(--soft); font-size: .78rem; display: flex; flex-wrap: wrap;
                   justify-content: space-between; gap: 0 .6rem; }
meter { width: 100%; height: .45rem; display: block; }
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
        return load_thumbnail(path, pixels, at_ms)
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


def readable(size: int) -> str:
    """A size as people say it.

    :param size: bytes
    :return: such as 61 KB or 3.2 MB, in thousands
    """
    return f"{size / 1_000_000:,.1f} MB" if size >= 1_000_000 else f"{-(-size // 1000):,} KB"
