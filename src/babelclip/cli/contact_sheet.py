"""A contact sheet: one HTML file with the thumbnails inside, so that it can be sent and kept."""

import html
from collections.abc import Sequence
from pathlib import Path

from babelclip.cli.page import figure, write_page
from babelclip.search import Hit


def write_contact_sheet(path: Path, answers: Sequence[tuple[str, list[Hit]]]) -> None:
    """Write the hits of some queries as a page.

    :param path: the file to write
    :param answers: queries and their hits
    """
    sections = "".join(_section(query, hits) for query, hits in answers)
    write_page(path, "babelclip contact sheet", f"<h1>babelclip contact sheet</h1>\n{sections}")


def _section(query: str, hits: Sequence[Hit]) -> str:
    """A query and its hits; ``dir=auto`` sets Arabic and Hebrew from right to left."""
    items = "".join(_item(hit) for hit in hits) or "<li>nothing found</li>"
    return f'<section>\n<h2 dir="auto">{html.escape(query)}</h2>\n<ol>\n{items}</ol>\n</section>\n'


def _item(hit: Hit) -> str:
    """One thumbnail with its file name and score."""
    name = html.escape(Path(hit.path).name)
    meter = f'<meter min="0" max="1" value="{max(0.0, hit.score):.3f}"></meter>'
    return figure(hit.path, f"{hit.rank}. {name}<br>{meter} {hit.score:.3f}", hit.at_ms)
