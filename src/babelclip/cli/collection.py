"""babelclip search, similar: a photo collection that is asked."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from babelclip.cautions import caution
from babelclip.cli import output
from babelclip.cli.options import AsJson, Count, IndexFile, ModelName, Precision, Runtime, load
from babelclip.errors import InputError
from babelclip.registry import DEFAULT
from babelclip.search import Hit, Index
from babelclip.settings import settings

HtmlFile = Annotated[Path | None, typer.Option("--html", help="Write a contact sheet with thumbnails to this file.")]


def search(
    query: Annotated[str | None, typer.Argument(help="Words, in any of the model's languages.")] = None,
    queries_from: Annotated[
        Path | None, typer.Option("--from", help="Queries from this file, one a line; several in one go.")
    ] = None,
    k: Count = 10,
    index_file: IndexFile = None,
    model: ModelName = DEFAULT,
    runtime: Runtime = None,
    precision: Precision = "auto",
    html: HtmlFile = None,
    json: AsJson = False,
) -> None:
    """Find photos by words."""
    if (query is None) == (queries_from is None):
        raise typer.BadParameter("give a query, or --from FILE")
    queries = [query] if query is not None else _read_lines(queries_from)
    with open_existing(index_file, model, runtime, precision) as opened:
        answers = [(text, opened.search(text, k)) for text in queries]
        _show(answers, html=html, as_json=json)
        for text in queries:
            said = caution(text, opened.model)
            if said:
                output.message(f"{text}: {said}")


def similar(
    image: Annotated[Path, typer.Argument(help="A picture.", show_default=False)],
    k: Count = 10,
    index_file: IndexFile = None,
    model: ModelName = DEFAULT,
    runtime: Runtime = None,
    precision: Precision = "auto",
    html: HtmlFile = None,
    json: AsJson = False,
) -> None:
    """Find photos that look like a picture."""
    with open_existing(index_file, model, runtime, precision) as opened:
        _show([(str(image), opened.similar(image, k))], html=html, as_json=json)


def open_existing(index_file: Path | None, model: str, runtime: str | None, precision: Precision) -> Index:
    """An index that must be there already.

    :param index_file: the file; None for the default one
    :param model: a name or folder
    :param runtime: an engine, or None for the default
    :param precision: in what the towers calculate
    :return: the index
    :raises InputError: if there is no such file
    """
    file = (index_file or settings().index).expanduser()
    if not file.is_file():
        raise InputError(f"there is no index at {file}; make one with: babelclip index FOLDER")
    return Index.open(file, load(model, runtime, precision))


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


def _show(answers: Sequence[tuple[str, list[Hit]]], *, html: Path | None, as_json: bool) -> None:
    """Hits on stdout, and on a contact sheet if asked for."""
    for text, hits in answers:
        if as_json:
            for hit in hits:
                output.json_line({"query": text, **asdict(hit)})
        else:
            rows = [(str(hit.rank), f"{hit.score:.3f}", hit.path) for hit in hits]
            output.table(("#", "score#", "photo"), rows, title=text)
    if html is not None:
        from babelclip.cli.contact_sheet import write_contact_sheet

        write_contact_sheet(html, answers)
        output.message(f"contact sheet: {html}")
