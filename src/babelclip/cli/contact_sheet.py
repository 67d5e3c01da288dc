"""A contact sheet: one HTML file with the thumbnails inside, so that it can be sent and kept."""

import html
from collections.abc import Sequence
from pathlib import Path

from babelclip.cli.html import figure, write_page
from babelclip.search.hits import Hit


def write_contact_sheet(path: Path, answers: Sequence[tuple[str, list[Hit]]]) -> None:
    """Write the hits of some queries as a page.

    :param path: the file to write
    :param answers: queries and their hits
    """
    sections = "".join(_section(query, hits) for query, hits in answers)
    write_page(path, "babelclip contact sheet", f"<h1>Contact sheet</h1>\n{sections or '<p>Nothing was found.</p>'}")


def _section(query: str, hits: Sequence[Hit]) -> str:
    """A query and its hits; ``dir=auto`` sets Arabic and Hebrew from right to left."""
    items = "".join(_item(hit) for hit in hits) or "<li>nothing found</li>"
    heading = f"<bdi>{html.escape(query)}</bdi><small>{len(hits)} photos</small>"
    return f'<section dir="auto">\n<h2>{heading}</h2>\n<ol>\n{items}</ol>\n</section>\n'


def _item(hit: Hit) -> str:
    """One thumbnail with its file name, and how sure it is; where that is not known, the cosine."""
    name = f"<bdi>{html.escape(Path(hit.path).name)}</bdi>"
    score = f"<span>cosine {hit.score:.3f}</span>"
    sure, share = "", max(0.0, hit.score)
    if hit.confidence is not None:
        word = "no" if hit.match == "none" else hit.match
        sure, share = f"<span>{word} match, {hit.confidence:.0%}</span>", hit.confidence
    meter = f'<meter min="0" max="1" value="{share:.3f}"></meter>'
    time = "" if hit.at_ms is None else f"<span>at {hit.at_ms / 1000:.1f} s</span>"
    alike = f"<span>and {len(hit.alike)} alike</span>" if hit.alike else ""
    return figure(
        hit.path, f"<span>{hit.rank}. {name}</span>{meter}<small>{sure}{score}{time}{alike}</small>", hit.at_ms
    )
