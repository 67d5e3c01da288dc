"""babelclip benchmark: measurements as commands."""

import sys
import tempfile
from dataclasses import asdict
from json import loads
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from babelclip.benchmark.engines import BASELINE, BY_TASK, TASKS, named_engines, named_tasks
from babelclip.cli import benchmark_search, benchmark_serve, output
from babelclip.cli.options import AsJson, words
from babelclip.errors import InputError
from babelclip.media.crawl import photos_below

if TYPE_CHECKING:
    from babelclip.benchmark.figures import SpeedReport

APP = typer.Typer(help="Measurements as commands.", no_args_is_help=True)


@APP.callback()
def _group() -> None:
    """Measurements as commands."""


APP.command()(benchmark_search.search)
APP.command()(benchmark_serve.serve)


@APP.command()
def parity(
    small: Annotated[bool, typer.Option("--small", help="Tiny models, in seconds, instead of the real sizes.")] = False,
    runtimes: Annotated[str, typer.Option(help="Separated by commas.")] = "openvino,onnxruntime,torch",
    photos: Annotated[Path | None, typer.Option(help="Folder of photos to encode beside the synthetic images.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the table to this file.")] = None,
    json: AsJson = False,
) -> None:
    """Compare with sentence-transformers and transformers on seeded random weights in the published layouts."""
    from babelclip.benchmark.parity import PUBLISHED, SMALL, as_markdown, run_parity

    files = list(photos_below(photos, lambda error: None)) if photos else []
    with output.progress("building") as bar:
        rows = run_parity(
            SMALL if small else PUBLISHED,
            [name.strip() for name in runtimes.split(",")],
            photos=files,
            progress=lambda label: bar(0, None, label),
        )
    if json:
        for row in rows:
            output.json_line({**asdict(row), "holds": row.holds})
    else:
        cells = [
            (row.case, row.runtime, str(row.rows), f"{row.min_cosine:.8f}", f"{row.max_difference:.1e}") for row in rows
        ]
        output.table(("folder", "runtime", "rows#", "worst cosine#", "largest difference#"), cells)
    if markdown is not None:
        size = "tiny" if small else "the published sizes"
        source = (
            f"Seeded random weights at {size}, built and saved by sentence-transformers and transformers themselves, "
            f"loaded by babelclip in float32. Texts: 42 scripts, oddities, 1 to 128 words. Images: every mode"
            f"{f', and {len(files)} photos' if files else ''}. Written by `babelclip benchmark parity --markdown`."
        )
        markdown.write_text(as_markdown(rows, source=source), encoding="utf-8")
    if not all(row.holds for row in rows):
        output.message("error: a row is outside the bounds")
        raise typer.Exit(1)


@APP.command()
def speed(
    only: Annotated[str, typer.Option(help=f"Tasks, separated by commas: {', '.join(BY_TASK)}. [default: all]")] = "",
    engines: Annotated[str, typer.Option(help="Engines, separated by commas, by their names in the table.")] = "",
    against: Annotated[str, typer.Option(help="Baseline of the ratios.")] = BASELINE,
    rounds: Annotated[int, typer.Option(min=1, help="Number of rounds.")] = 5,
    seconds: Annotated[float, typer.Option(min=0.0, help="Seconds of a round, with at least three calls.")] = 2.0,
    small: Annotated[
        bool, typer.Option("--small", help="Tiny models and images, to try it; without thresholds.")
    ] = False,
    scratch: Annotated[
        Path | None,
        typer.Option(help="Folder that keeps models and images for the next run. [default: a temporary folder]"),
    ] = None,
    python: Annotated[
        list[str] | None,
        typer.Option(help="ENGINE=PATH: interpreter of an environment with an engine's packages. Repeatable."),
    ] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the page to this file, and its plot beside it.")] = None,
    json: AsJson = False,
) -> None:
    """Measure throughput, latency, cold start and memory of each runtime and precision, beside other libraries."""
    from babelclip.benchmark.figures import joined
    from babelclip.benchmark.making import make_materials
    from babelclip.benchmark.speed import measure_speed, needs_models
    from babelclip.benchmark.speed_plot import require_plots

    tasks, chosen = named_tasks(words(only)), named_engines(words(engines))
    named_engines((against,))
    pythons = _pythons(python or [])
    if markdown is not None:
        require_plots()
    with tempfile.TemporaryDirectory(prefix="babelclip-speed-") as passing, output.progress("making") as bar:
        materials = make_materials(
            scratch or Path(passing),
            small=small,
            models=needs_models(tasks, chosen),
            files=any(task.name in ("files", "index") for task in tasks),
            say=lambda label: bar(0, None, label),
        )
        reports = []
        for task in tasks:
            report = measure_speed(
                materials,
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
    records: Annotated[
        list[Path], typer.Argument(help="Output of `babelclip benchmark speed --json`, from one run or several.")
    ],
    markdown: Annotated[Path, typer.Option(help="Write the page to this file, and its plot beside it.")],
) -> None:
    """Write one page from the JSON lines of several runs, each task from the run that measured it last."""
    from babelclip.benchmark.figures import from_lines

    try:
        lines = [loads(line) for path in records for line in path.read_text(encoding="utf-8").splitlines()]
        report = from_lines(lines)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(
            f"{', '.join(map(str, records))}: not the lines of benchmark speed --json: {error!r}"
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
    from babelclip.benchmark.figures import as_lines
    from babelclip.benchmark.speed_page import cells, columns, title_of

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
    from babelclip.benchmark.speed_page import NOT_MEASURED, SUMMARY, summary_rows

    if any(row.bar for row in report.rows):
        output.table(SUMMARY, [row for row in summary_rows(report) if NOT_MEASURED not in row], title="Bars")


def _write_page(report: "SpeedReport", markdown: Path) -> None:
    """The page and its plot."""
    from babelclip.benchmark.speed_page import as_markdown
    from babelclip.benchmark.speed_plot import draw

    plot = markdown.with_suffix(".png")
    draw(report, plot)
    source = (
        "Seeded random weights at the published sizes, the same for all engines; each engine in its own process, "
        f"in turns. Medians of rounds, with the lowest and the highest round; ratios are against "
        f"{report.baseline} in the same round, texts, images or files per second. GFLOP/s counts the "
        "multiply-adds of the graph's matrix products and convolutions, twice each. Written by `babelclip benchmark "
        "speed --markdown`."
    )
    markdown.write_text(as_markdown(report, source=source, plot=plot.name), encoding="utf-8")
    output.message(f"page: {markdown}, plot: {plot}")
