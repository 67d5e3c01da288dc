"""A contact sheet: one HTML file with the thumbnails inside, so that it can be sent and kept."""

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from babelclip.errors import ImageError
from babelclip.pixels import read_image
from babelclip.search import Hit

THUMBNAIL_PIXELS = 240
JPEG_QUALITY = 82

_STYLE = """
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; }
body { margin: 0 auto; padding: 1.5rem; max-width: 1400px; }
h1 { font-size: 1.25rem; font-weight: 600; }
h2 { font-size: 1.1rem; font-weight: 600; margin: 2rem 0 .6rem; }
ol { list-style: none; margin: 0; padding: 0; display: grid; gap: .8rem;
     grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); direction: ltr; }
figure { margin: 0; }
img, .missing { width: 100%; height: auto; aspect-ratio: 1; object-fit: contain;
                border-radius: 6px; background: #8882; }
.missing { display: grid; place-items: center; opacity: .7; }
figcaption { font-size: .8rem; overflow-wrap: anywhere; opacity: .85; }
meter { width: 100%; height: .5rem; }
"""


def write_contact_sheet(path: Path, answers: Sequence[tuple[str, list[Hit]]]) -> None:
    """Write the hits of some queries as a page.

    :param path: the file to write
    :param answers: queries and their hits
    """
    sections = "".join(_section(query, hits) for query, hits in answers)
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>babelclip contact sheet</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>babelclip contact sheet</h1>\n{sections}</body>\n</html>\n"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(page.encode("utf-8", "xmlcharrefreplace"))


def _section(query: str, hits: Sequence[Hit]) -> str:
    """A query and its hits; ``dir=auto`` sets Arabic and Hebrew from right to left."""
    items = "".join(_item(hit) for hit in hits) or "<li>nothing found</li>"
    return f'<section>\n<h2 dir="auto">{html.escape(query)}</h2>\n<ol>\n{items}</ol>\n</section>\n'


def _item(hit: Hit) -> str:
    """One thumbnail with its file name and score."""
    name = html.escape(Path(hit.path).name)
    return (
        f'<li><figure title="{html.escape(hit.path)}">{_thumbnail(hit.path, name)}'
        f'<figcaption>{hit.rank}. {name}<br><meter min="0" max="1" value="{max(0.0, hit.score):.3f}"></meter> '
        f"{hit.score:.3f}</figcaption></figure></li>\n"
    )


def _thumbnail(path: str, name: str) -> str:
    """The picture, small, as an inline JPEG; a note where it is gone."""
    try:
        image = read_image(path)
    except ImageError:
        return '<div class="missing">not there any more</div>'
    image.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY)
    content = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<img alt="{name}" width="{image.width}" height="{image.height}" src="data:image/jpeg;base64,{content}">'
