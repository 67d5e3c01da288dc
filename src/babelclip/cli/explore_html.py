"""The pages of duplicates and clusters."""

import html
from collections.abc import Sequence
from pathlib import Path

from babelclip.cli.html import figure, readable, write_page
from babelclip.explore.clusters import Cluster
from babelclip.explore.duplicates import Group, Member

MOST_GROUPS = 500
MOST_MEMBERS = 24


def write_duplicates(path: Path, groups: Sequence[Group]) -> None:
    """Write groups of duplicates as a page, the first 500 of them.

    :param path: the file to write
    :param groups: the groups
    """
    spare = sum(group.spare_bytes for group in groups)
    more = f"<p>{len(groups) - MOST_GROUPS} more groups are not shown.</p>\n" if len(groups) > MOST_GROUPS else ""
    sections = "".join(_group(number, group) for number, group in enumerate(groups[:MOST_GROUPS], 1))
    body = (
        f"<h1>Duplicates: {len(groups)} groups, {readable(spare)} to spare</h1>\n"
        "<p>Of the same picture, the best comes first. Look-alikes are different pictures. Nothing was deleted.</p>\n"
        f"{sections or '<p>There are none.</p>'}{more}"
    )
    write_page(path, "babelclip duplicates", body)


def _group(number: int, group: Group) -> str:
    """A group with its members."""
    what = f"the same picture, {readable(group.spare_bytes)} to spare" if group.same else "look-alikes"
    items = "".join(_member(member) for member in group.members[:MOST_MEMBERS])
    rest = len(group.members) - MOST_MEMBERS
    more = f"<p>and {rest} more</p>\n" if rest > 0 else ""
    return f"<section>\n<h2>{number} <small>{what}</small></h2>\n<ol>\n{items}</ol>\n{more}</section>\n"


def _member(member: Member) -> str:
    """One file: what it is, its size, and its path."""
    size = "" if member.width is None else f"<span>{member.width} × {member.height}</span>"
    what = "keep" if member.why == "best" else member.why
    cosine = "" if member.cosine > 0.9999 else f"<span>cosine {member.cosine:.3f}</span>"
    facts = f"<small>{size}<span>{readable(member.bytes)}</span>{cosine}</small>"
    return figure(member.path, f"<b>{what}</b>{facts}<bdi>{html.escape(member.path)}</bdi>")


def write_clusters(path: Path, clusters: Sequence[tuple[Cluster, Sequence[str]]]) -> None:
    """Write clusters as a page.

    :param path: the file to write
    :param clusters: each with the paths to show of it
    """
    sections = "".join(_cluster(cluster, paths) for cluster, paths in clusters)
    write_page(path, "babelclip clusters", f"<h1>{len(clusters)} clusters</h1>\n{sections}")


def _cluster(cluster: Cluster, paths: Sequence[str]) -> str:
    """A cluster with the photos in its middle."""
    items = "".join(figure(path, html.escape(Path(path).name)) for path in paths)
    name = html.escape(", ".join(cluster.name))
    heading = f"<bdi>{name}</bdi> <small>{len(cluster.members)} photos</small>"
    return f'<section>\n<h2 dir="auto">{heading}</h2>\n<ol>\n{items}</ol>\n</section>\n'
