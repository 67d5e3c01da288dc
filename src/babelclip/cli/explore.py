"""babelclip duplicates, cluster, map: what is in a photo collection."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from babelclip.catalog.records import Photo
from babelclip.cli import output
from babelclip.cli.options import AsJson, IndexFile, ModelName, Precision, Runtime, system_language
from babelclip.cli.search import open_existing
from babelclip.errors import InputError
from babelclip.explore import duplicates as dup
from babelclip.explore.clusters import Cluster, gather, hdbscan, k_means
from babelclip.media.archives import inside_archive
from babelclip.media.crawl import canonical_path
from babelclip.models.model import Model
from babelclip.models.registry import DEFAULT
from babelclip.search.index import Index
from babelclip.vectors import FloatArray
from babelclip.zeroshot import Classifier
from babelclip.zeroshot.background_vocabulary import background_vocabulary, vocabulary_languages

SHOWN_IN_TABLE = 3
SHOWN_ON_SHEET = 12
BYTES_A_MEGABYTE = 1_000_000

Folder = Annotated[Path | None, typer.Option("--folder", help="Only photos at or below this folder.")]
HtmlSheet = Annotated[Path | None, typer.Option("--html", help="Write a page with thumbnails to this file.")]
Language = Annotated[
    str | None,
    typer.Option("--language", help="Language of the names, such as de. [default: the language of the system]"),
]
Words = Annotated[
    Path | None,
    typer.Option("--words", help="File of names to choose from, one a line, instead of the everyday words."),
]


class Method(StrEnum):
    """How clusters are found."""

    KMEANS = "kmeans"
    HDBSCAN = "hdbscan"


def duplicates(
    near: Annotated[
        float, typer.Option(min=0, max=1, help="Cosine from which pixels are compared; 1: only exact copies.")
    ] = dup.NEAR,
    alike: Annotated[
        float, typer.Option(min=0, max=1, help="Cosine from which different images are look-alikes; 1: list none.")
    ] = dup.ALIKE,
    folder: Folder = None,
    paths: Annotated[
        bool, typer.Option("--paths", help="Print only redundant files, one path a line; no look-alikes.")
    ] = False,
    index_file: IndexFile = None,
    model: ModelName = DEFAULT,
    html: HtmlSheet = None,
    json: AsJson = False,
) -> None:
    """Find copies, re-saved and resized photos, and look-alikes. Nothing is deleted."""
    if paths and json:
        raise typer.BadParameter("give --paths or --json, not both")
    with open_existing(index_file, model, None, "auto") as opened, output.progress("comparing") as bar:
        photos, vectors = _pictures(opened, folder)
        there = dup.on_disk(photos)
        left_out = len(photos) - len(there)
        photos, vectors = [photos[i] for i in there], vectors[there]
        captures = {digest: dup.Capture(*said) for digest, said in opened.captures().items()}
        shown = 1.0 if paths else alike
        groups = dup.find_duplicates(photos, vectors, near=near, alike=shown, captures=captures, progress=bar)
    if left_out:
        left = output.counted(left_out, "photo")
        output.message(f"left out: {left} gone or changed since the last babelclip index, or links to others")
    if paths:
        _show_paths(groups)
    elif json:
        for group in groups:
            output.json_line(_group_row(group))
    else:
        _show_groups(groups, len(photos))
    if html is not None:
        from babelclip.cli.explore_html import write_duplicates

        write_duplicates(html, groups)
        output.message(f"page: {html}")


def _show_paths(groups: Sequence[dup.Group]) -> None:
    """The files that could go, a line each; a name of two lines would be two other files to what reads them."""
    for member in (member for group in groups for member in group.members[1:]):
        if "\n" in member.path:
            output.message(f"{member.path!r} is left out: there is a line break in its name")
        elif not inside_archive(member.path):
            output.line(member.path)


def _group_row(group: dup.Group) -> dict[str, Any]:
    """A group as JSON has it."""
    rows = [
        {"path": m.path, "why": m.why, "bytes": m.bytes, "width": m.width, "height": m.height, "cosine": m.cosine}
        for m in group.members
    ]
    kind = "same" if group.same else "look-alike"
    return {"kind": kind, "spare_bytes": group.spare_bytes, "members": rows}


def _show_groups(groups: Sequence[dup.Group], photos: int) -> None:
    """A table of the members, group by group, and what they come to."""
    rows = []
    for number, group in enumerate(groups, 1):
        for place, m in enumerate(group.members):
            size = "" if m.width is None else f"{m.width} x {m.height}"
            rows.append(("" if place else str(number), m.why, f"{m.cosine:.3f}", size, f"{m.bytes:,}", m.path))
    if rows:
        output.table(("group#", "what", "cosine#", "pixels#", "bytes#", "photo"), rows)
    same = [group for group in groups if group.same]
    spare = sum(group.spare_bytes for group in same) / BYTES_A_MEGABYTE
    files = output.counted(sum(len(group.members) - 1 for group in same), "file")
    output.line(
        f"{output.counted(photos, 'photo')}: {output.counted(len(same), 'group')} that show the same, {files} and "
        f"{spare:.1f} MB to spare; {output.counted(len(groups) - len(same), 'group')} of look-alikes. "
        "Nothing was deleted."
    )


def cluster(
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="Number of clusters of k-means.")] = 20,
    method: Annotated[
        Method, typer.Option(help="kmeans, or hdbscan, which determines the number of clusters.")
    ] = Method.KMEANS,
    smallest: Annotated[int, typer.Option(min=2, help="Smallest number of photos in a cluster of hdbscan.")] = 10,
    language: Language = None,
    words: Words = None,
    folder: Folder = None,
    index_file: IndexFile = None,
    model: ModelName = DEFAULT,
    runtime: Runtime = None,
    precision: Precision = "auto",
    html: HtmlSheet = None,
    json: AsJson = False,
) -> None:
    """Divide photos into clusters, each named in your language."""
    with open_existing(index_file, model, runtime, precision) as opened:
        photos, vectors = _pictures(opened, folder)
        names, word_vectors = name_bank(opened.model, language, words)
    with output.progress("clustering"):
        labels = hdbscan(vectors, smallest) if method is Method.HDBSCAN else k_means(vectors, count)
        clusters = gather(vectors, labels, names, word_vectors)
    paths = [photo.path for photo in photos]
    if json:
        for one in clusters:
            own = [paths[i] for i in one.members]
            output.json_line({"name": ", ".join(one.name), "words": list(one.name), "size": len(own), "photos": own})
    else:
        _show_clusters(clusters, paths)
    if html is not None:
        from babelclip.cli.explore_html import write_clusters

        write_clusters(html, [(one, [paths[i] for i in one.members[:SHOWN_ON_SHEET]]) for one in clusters])
        output.message(f"page: {html}")


def _show_clusters(clusters: Sequence[Cluster], paths: Sequence[str]) -> None:
    """A row a cluster, and how many photos are in none."""
    rows = []
    for one in clusters:
        shown = ", ".join(Path(paths[i]).name for i in one.members[:SHOWN_IN_TABLE])
        rows.append((", ".join(one.name), str(len(one.members)), shown))
    output.table(("cluster", "photos#", "in its middle"), rows)
    rest = len(paths) - sum(len(one.members) for one in clusters)
    if rest:
        output.line(f"In no cluster: {output.counted(rest, 'photo')}.")


def map(
    page: Annotated[Path, typer.Argument(help="The HTML file to write.", show_default=False)],
    most: Annotated[
        int, typer.Option(min=1, help="Largest number of photos on the map; of more, an even sample.")
    ] = 20_000,
    thumbnails: Annotated[int, typer.Option(min=0, help="Thumbnails inside the page.")] = 2_000,
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="Number of named regions.")] = 24,
    language: Language = None,
    words: Words = None,
    folder: Folder = None,
    index_file: IndexFile = None,
    model: ModelName = DEFAULT,
    runtime: Runtime = None,
    precision: Precision = "auto",
) -> None:
    """Draw a map with similar photos next to each other: one zoomable HTML page."""
    from babelclip.cli.map_html import Spot, write_map
    from babelclip.explore.projection import reduce

    with open_existing(index_file, model, runtime, precision) as opened:
        photos, vectors = _pictures(opened, folder)
        names, word_vectors = name_bank(opened.model, language, words)
    shown = np.unique(np.linspace(0, len(photos) - 1, min(most, len(photos))).astype(np.int64))
    left_out = len(photos) - len(shown)
    photos, vectors = [photos[i] for i in shown], vectors[shown]
    with output.progress("laying out"):
        places = reduce(vectors)
        labels = k_means(places, count, spherical=False)
        clusters = gather(vectors, labels, names, word_vectors)
    region = np.zeros(len(photos), np.int64)
    for number, one in enumerate(clusters):
        region[one.members] = number
    spots = [
        Spot(photo.path, float(x), float(y), int(r)) for photo, (x, y), r in zip(photos, places, region, strict=True)
    ]
    with output.progress("thumbnails") as bar:
        embedded = write_map(page, spots, [", ".join(one.name) for one in clusters], thumbnails, progress=bar)
    output.message(f"map of {output.counted(len(photos), 'photo')}, {embedded} with a thumbnail inside: {page}")
    if left_out:
        output.message(f"left out: {output.counted(left_out, 'photo')}; --most {len(photos) + left_out} draws all")


def _pictures(opened: Index, folder: Path | None) -> tuple[list[Photo], FloatArray]:
    """The pictures of an index, or of one folder of it."""
    photos, vectors = opened.pictures()
    if folder is not None:
        root = canonical_path(folder)
        kept = [i for i, photo in enumerate(photos) if Path(photo.path).is_relative_to(root)]
        photos, vectors = [photos[i] for i in kept], vectors[kept]
    if not photos:
        where = f" at or below {folder}" if folder is not None else ""
        raise InputError(f"the index holds no photos{where}; add some with: babelclip index FOLDER")
    return photos, vectors


def name_bank(model: Model, language: str | None, words: Path | None) -> tuple[Sequence[str], FloatArray]:
    """What clusters may be called.

    :param model: what reads the words
    :param language: a code; None takes the system's, English where that has no words
    :param words: a file of words, or None for the everyday words of the language
    :return: words, and float32 (words, d) unit rows
    :raises InputError: if a language was given that has no words, or the file holds none
    """
    known = vocabulary_languages()
    if language is not None and language not in known and words is None:
        raise InputError(
            f"there are no everyday words in {language!r}; give --words FILE, or one of {', '.join(known)}"
        )
    code = language or system_language(known)
    bank = background_vocabulary(code) if words is None else _read_words(words)
    return bank, Classifier(model, list(bank), language=code).text_matrix


def _read_words(path: Path) -> tuple[str, ...]:
    """The lines of a file that are not blank, each once."""
    try:
        lines = path.expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    found = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not found:
        raise InputError(f"{path} holds no word")
    return found
