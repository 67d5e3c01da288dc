"""What commands print: tables and JSON lines on stdout, messages and progress on stderr."""

import csv
import io
import json
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any, Protocol, TextIO

from rich.console import Console

# Where no person looks, lines are not folded: a path is a path.
_PIPE_COLUMNS = 4096
_OUT = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_COLUMNS)
_ERR = Console(stderr=True, highlight=False, soft_wrap=True)


_kept: TextIO | None = None


def _stdout() -> TextIO:
    return _kept or sys.stdout


@contextmanager
def alone() -> Iterator[None]:
    """While the block runs, stdout has the lines of this module only; what libraries print goes to stderr.

    :yield: nothing
    """
    global _kept
    _kept = sys.stdout
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _kept = None


class Bar(Protocol):
    """A progress bar that is set to a place."""

    def __call__(self, done: int, total: int | None = None, label: str | None = None) -> None:
        """Set how much is done, and perhaps of how much, and what is under way."""
        ...


def line(text: str) -> None:
    """A line of plain text on stdout.

    :param text: the line
    """
    _stdout().write(text + "\n")


def json_line(content: Any) -> None:
    """One JSON object on a line of stdout.

    :param content: what JSON can hold
    """
    # Surrogates stand for file name bytes that are not UTF-8; escaping them keeps the output valid.
    text = json.dumps(content, ensure_ascii=False)
    line(text.encode("utf-8", "backslashreplace").decode("utf-8"))


def csv_line(cells: Sequence[object]) -> None:
    """A row of CSV on stdout.

    :param cells: its cells
    """
    row = io.StringIO()
    csv.writer(row, lineterminator="\n").writerow(cells)
    _stdout().write(row.getvalue().encode("utf-8", "backslashreplace").decode("utf-8"))


def message(text: str) -> None:
    """A message to the person, on stderr.

    :param text: the message
    """
    _ERR.print("\n".join(_plain(part) for part in text.split("\n")), markup=False)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str | None = None) -> None:
    """A table on stdout; columns whose name ends in "#" are numbers, set to the right.

    :param columns: the headings
    :param rows: cells
    :param title: what stands above
    """
    from rich.table import Table

    shown = None if title is None else _escape(title)
    drawn = Table(box=None, title=shown, title_justify="left", title_style="bold", pad_edge=False)
    for column in columns:
        drawn.add_column(column.rstrip("#"), justify="right" if column.endswith("#") else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(_escape(cell) for cell in row))
    _OUT.print(drawn)


def counted(number: int, noun: str) -> str:
    """A number of things in words.

    :param number: how many
    :param noun: what one of them is called
    :return: such as "1 photo" or "2 photos"
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _escape(cell: str) -> str:
    """Text that rich shows as it is."""
    from rich.markup import escape

    return escape(_plain(cell))


def _plain(text: str) -> str:
    """Text for people: what cannot be encoded, and what a terminal would act on, is shown escaped."""
    plain = "".join(repr(one)[1:-1] if unicodedata.category(one) == "Cc" else one for one in text)
    return plain.encode("utf-8", "backslashreplace").decode("utf-8")


@contextmanager
def progress(label: str, total: int | None = None) -> Iterator[Bar]:
    """A bar on stderr while the block runs, with rate and time left; nothing where stderr is not a terminal.

    :param label: what is under way
    :param total: of how much, where it is known
    :yield: a function that sets the bar
    """
    # Together these take longer to import than a short command takes to run.
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    # Where stdout is no terminal, what is printed meanwhile must go there, not above the bar.
    shared = sys.stdout.isatty()
    with Progress(*columns, console=_ERR, transient=True, disable=not _ERR.is_terminal, redirect_stdout=shared) as bars:
        task = bars.add_task(label, total=total, rate="")

        def show(done: int, total: int | None = None, label: str | None = None) -> None:
            speed = bars.tasks[0].speed
            rate = f"{speed:.0f}/s" if speed else ""
            bars.update(task, completed=done, total=total, description=label, rate=rate)

        yield show
