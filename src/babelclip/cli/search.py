"""babelclip search, similar: a photo collection that is asked."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from babelclip.cli import output
from babelclip.cli.options import AsJson, Count, IndexName, ModelName, Precision, Runtime, load
from babelclip.errors import InputError
from babelclip.models.registry import DEFAULT
from babelclip.query.expressions import read_expression
from babelclip.search.hits import Hit
from babelclip.search.index import Index
from babelclip.search.language_warnings import language_warning
from babelclip.search.options import SearchOptions
from babelclip.settings import settings
from babelclip.text.language_id import read_ahead
from babelclip.text.languages import BY_CODE

Where = Annotated[
    str | None,
    typer.Option("--where", help="Only photos that satisfy a filter, such as: folder:holiday AND NOT date<2020"),
]
HtmlFile = Annotated[Path | None, typer.Option("--html", help="Write a contact sheet with thumbnails to this file.")]


def search(
    query: Annotated[
        str | None,
        typer.Argument(help='A text in any of the model\'s languages, or "text" + photo.jpg - "other text".'),
    ] = None,
    queries_from: Annotated[Path | None, typer.Option("--from", help="File of queries, one a line.")] = None,
    k: Count = 10,
    page: Annotated[int, typer.Option(min=1, help="Page number; each page has as many photos as --top.")] = 1,
    where: Where = None,
    everything: Annotated[bool, typer.Option("--all", help="Show photos without a good match too.")] = False,
    group: Annotated[bool, typer.Option("--group", help="Show near-duplicates as one hit.")] = False,
    diversity: Annotated[float, typer.Option(min=0, max=1, help="Diversity of the photos, 0 to 1.")] = 0.0,
    language: Annotated[str | None, typer.Option(help="Code of the query's language. [default: identified]")] = None,
    queries_like: Annotated[
        Path | None,
        typer.Option(help="Query bank for hubness correction, one query a line."),
    ] = None,
    index_file: IndexName = None,
    model: ModelName = DEFAULT,
    runtime: Runtime = None,
    precision: Precision = "auto",
    html: HtmlFile = None,
    json: AsJson = False,
) -> None:
    """Find photos by texts, images, or sums and differences of both."""
    if (query is None) == (queries_from is None):
        raise typer.BadParameter("give a query, or --from FILE")
    if language is not None and language not in BY_CODE:
        raise typer.BadParameter(f"language {language!r} is not known; known are {', '.join(BY_CODE)}")
    queries = [query] if query is not None else _read_lines(queries_from)
    expressions = [read_expression(text) for text in queries]
    options = SearchOptions(
        k=k,
        where=where,
        page=page,
        grouped=group,
        diversity=diversity,
        language=language,
        queries_like=tuple(_read_lines(queries_like)) if queries_like is not None else (),
    )
    if language is None and queries:
        read_ahead(queries[0])
    with open_existing(index_file, model, runtime, precision) as opened:
        found = [opened.searcher.search(terms, options) for terms in expressions]
        _show_judged(list(zip(queries, found, strict=True)), everything=everything, html=html, as_json=json)
        for text, terms in zip(queries, expressions, strict=True):
            for term in terms:
                said = language_warning(term.item, opened.model) if isinstance(term.item, str) else None
                if said:
                    output.message(f"{text}: {said}")


def similar(
    image: Annotated[Path, typer.Argument(help="An image.", show_default=False)],
    k: Count = 10,
    where: Where = None,
    index_file: IndexName = None,
    model: ModelName = DEFAULT,
    runtime: Runtime = None,
    precision: Precision = "auto",
    html: HtmlFile = None,
    json: AsJson = False,
) -> None:
    """Find photos that look like an image."""
    with open_existing(index_file, model, runtime, precision) as opened:
        _show([(str(image), opened.similar(image, k, where=where))], html=html, as_json=json)


def open_existing(index_file: str | Path | None, model: str, runtime: str | None, precision: Precision) -> Index:
    """An index that must be there already.

    :param index_file: the file, or the address of a collection of Milvus; None for the default file
    :param model: a name or folder
    :param runtime: an engine, or None for the default
    :param precision: in what the towers calculate
    :return: the index
    :raises InputError: if there is none
    """
    return Index.open(index_file or settings().index, load(model, runtime, precision), create=False)


def _read_lines(path: Path | None) -> list[str]:
    """The lines of a text file that are not blank."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path else []
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    found = [line.strip() for line in lines if line.strip()]
    if not found:
        raise InputError(f"{path} holds no query")
    return found


def _show_judged(
    answers: Sequence[tuple[str, list[Hit]]], *, everything: bool, html: Path | None, as_json: bool
) -> None:
    """Hits that are a match, and a plain word for each query that has none."""
    kept = [(text, [hit for hit in hits if everything or hit.match != "none"]) for text, hits in answers]
    _show([(text, hits) for text, hits in kept if hits], html=html, as_json=as_json)
    for (text, hits), (_, good) in zip(answers, kept, strict=True):
        if good:
            continue
        if as_json:
            output.json_line({"query": text, "match": "none", "best": _as_object(hits[0]) if hits else None})
        elif not hits:
            output.line(f"{text}: no photo")
        else:
            best = hits[0]
            output.line(f"{text}: no good match. The best would be {best.path} (confidence {best.confidence:.2f}).")
            output.message("--all shows such photos too")


def _as_object(hit: Hit) -> dict[str, object]:
    """A hit for JSON; what it does not have is left out."""
    found = {name: value for name, value in asdict(hit).items() if value not in (None, ())}
    return found if hit.match is None else {**found, "match": hit.match}


def _show(answers: Sequence[tuple[str, list[Hit]]], *, html: Path | None, as_json: bool) -> None:
    """Hits on stdout, and on a contact sheet if asked for."""
    for text, hits in answers:
        if as_json:
            for hit in hits:
                output.json_line({"query": text, **_as_object(hit)})
        else:
            _table(text, hits)
    if html is not None:
        from babelclip.cli.contact_sheet import write_contact_sheet

        write_contact_sheet(html, answers)
        output.message(f"contact sheet: {html}")


def _table(text: str, hits: Sequence[Hit]) -> None:
    """Hits as a table, with the match in words where it is known."""
    judged = any(hit.match for hit in hits)
    rows = []
    for hit in hits:
        second = "" if hit.at_ms is None else f" at {hit.at_ms / 1000:.1f} s"
        more = f" (and {len(hit.alike)} alike)" if hit.alike else ""
        match = (hit.match or "",) if judged else ()
        rows.append((str(hit.rank), f"{hit.score:.3f}", *match, f"{hit.path}{second}{more}"))
    output.table(("#", "score#", *(("match",) if judged else ()), "photo"), rows, title=text)
