"""python -m benchmarks.speed: speed and memory against other libraries."""

import sys
import tempfile
from json import loads
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from babelclip.cli import output
from babelclip.cli.options import AsJson, words
from babelclip.errors import InputError
from benchmarks.speed.engines import BASELINE, BY_TASK, TASKS, named_engines, named_tasks

if TYPE_CHECKING:
    from benchmarks.speed.report import SpeedReport

APP = typer.Typer(help="Speed and memory against other libraries.", no_args_is_help=True)


@APP.command()
def run(
    only: Annotated[str, typer.Option(help=f"Tasks, parted by commas: {', '.join(BY_TASK)}. [default: all]")] = "",
    engines: Annotated[str, typer.Option(help="Engines, parted by commas, by the names in the table.")] = "",
    against: Annotated[str, typer.Option(help="The engine that ratios are against.")] = BASELINE,
    rounds: Annotated[int, typer.Option(min=1, help="How often each engine has its turn.")] = 5,
    seconds: Annotated[float, typer.Option(min=0.0, help="How long a turn is, at least three calls.")] = 2.0,
    small: Annotated[bool, typer.Option("--small", help="Tiny models and pictures, to try it; no bars.")] = False,
    scratch: Annotated[
        Path | None, typer.Option(help="Keep models and pictures here, for the next time. [default: a passing folder]")
    ] = None,
    python: Annotated[
        list[str] | None,
        typer.Option(help="ENGINE=PATH: the interpreter of an environment that has an engine's packages. Repeatable."),
    ] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the page to this file, and its plot beside it.")] = None,
    json: AsJson = False,
) -> None:
    """Throughput, latency, cold start and memory of each runtime and precision, beside other libraries."""
    from benchmarks.speed.build_fixtures import build_fixtures
    from benchmarks.speed.measure import measure_speed, needs_models
    from benchmarks.speed.plot import require_plots
    from benchmarks.speed.report import joined

    tasks, chosen = named_tasks(words(only)), named_engines(words(engines))
    named_engines((against,))
    pythons = _pythons(python or [])
    if markdown is not None:
        require_plots()
    with tempfile.TemporaryDirectory(prefix="babelclip-speed-") as passing, output.progress("making") as bar:
        fixtures = build_fixtures(
            scratch or Path(passing),
            small=small,
            models=needs_models(tasks, chosen),
            files=any(task.name in ("files", "index") for task in tasks),
            say=lambda label: bar(0, None, label),
        )
        reports = []
        for task in tasks:
            report = measure_speed(
                fixtures,
                task,
                chosen,
                baseline=against,
                rounds=rounds,
                seconds=seconds,
                pythons=pythons,
                say=lambda label: bar(0, None, label),
            )
            _show_speed(report, as_json=json)
            reports.append(report)
    whole = joined(reports)
    if not json:
        _show_bars(whole)
    if markdown is not None:
        _write_page(whole, markdown)


@APP.command()
def page(
    records: Annotated[list[Path], typer.Argument(help="Files that run --json wrote.")],
    markdown: Annotated[Path, typer.Option(help="Write the page to this file, and its plot beside it.")],
) -> None:
    """One page from the JSON lines of several runs; a task counts as it was measured last."""
    from benchmarks.speed.report import from_lines

    try:
        lines = [loads(line) for path in records for line in path.read_text(encoding="utf-8").splitlines()]
        report = from_lines(lines)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(
            f"{', '.join(map(str, records))}: not the lines of benchmarks.speed run --json: {error!r}"
        ) from None
    _write_page(report, markdown)


def _pythons(options: list[str]) -> dict[str, str]:
    """ENGINE=PATH options as a mapping."""
    found = {}
    for option in options:
        name, parted, path = option.partition("=")
        named_engines((name,))
        if not parted or not Path(path).is_file():
            raise InputError(f"--python {option!r}: give ENGINE=PATH, with the path of a Python interpreter")
        found[name] = path
    return found


def _show_speed(report: "SpeedReport", *, as_json: bool) -> None:
    """What was measured on stdout, and who was left out on stderr."""
    from benchmarks.speed.page import cells, columns, title_of
    from benchmarks.speed.report import as_lines

    if as_json:
        for line in as_lines(report):
            output.json_line(line)
    else:
        for task in TASKS:
            rows = [row for row in report.rows if row.task == task.name]
            if rows:
                output.table(columns(task), [cells(task, row) for row in rows], title=title_of(task, report))
    sys.stdout.flush()
    for left in report.left_out:
        output.message(f"{left.task}: {left.engine} was left out: {left.why}")


def _show_bars(report: "SpeedReport") -> None:
    """The bars beside what was reached, where any was measured."""
    from benchmarks.speed.page import NOT_MEASURED, SUMMARY, summary_rows

    if any(row.bar for row in report.rows):
        output.table(SUMMARY, [row for row in summary_rows(report) if NOT_MEASURED not in row], title="Bars")


def _write_page(report: "SpeedReport", markdown: Path) -> None:
    """The page and its plot."""
    from benchmarks.speed.page import as_markdown
    from benchmarks.speed.plot import draw

    plot = markdown.with_suffix(".png")
    draw(report, plot)
    source = (
        "Seeded random weights at the published sizes, the same for all engines; each engine in its own process, "
        f"in turns. Medians of rounds, with the lowest and the highest round; ratios are against "
        f"{report.baseline} in the same round, texts, images or files per second. GFLOP/s counts the "
        "multiply-adds of the graph's matrix products and convolutions, twice each. Written by `python -m "
        "benchmarks.speed run --markdown`."
    )
    markdown.write_text(as_markdown(report, source=source, plot=plot.name), encoding="utf-8")
    output.message(f"page: {markdown}, plot: {plot}")


if __name__ == "__main__":
    APP()
