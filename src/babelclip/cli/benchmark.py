"""babelclip benchmark: measurements of a model, an index and the service on this machine."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from babelclip.cli import benchmark_search, benchmark_serve, output
from babelclip.cli.options import AsJson, ModelName, Precision, words
from babelclip.media.crawl import photos_below
from babelclip.models.registry import DEFAULT

APP = typer.Typer(help="Measure a model, an index or the service on this machine.", no_args_is_help=True)


@APP.callback()
def _group() -> None:
    """Measure a model, an index or the service on this machine."""


APP.command()(benchmark_search.search)
APP.command()(benchmark_serve.serve)


@APP.command()
def parity(
    model: ModelName = DEFAULT,
    runtimes: Annotated[str, typer.Option(help="Separated by commas.")] = "openvino",
    photos: Annotated[
        Path | None, typer.Option(help="A folder of photos to encode in addition to synthetic images.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Compare a model's vectors with those of sentence-transformers and transformers on the same weights."""
    from babelclip.benchmark.parity import COLUMNS, check_model
    from babelclip.models import registry

    files = list(photos_below(photos, lambda error: None)) if photos else []
    with output.progress("comparing") as bar:
        rows = check_model(
            registry.find(model), words(runtimes), photos=files, progress=lambda label: bar(0, None, label)
        )
    if json:
        for row in rows:
            output.json_line({**asdict(row), "holds": row.holds})
    else:
        output.table(COLUMNS, [row.cells() for row in rows])
    if not all(row.holds for row in rows):
        output.message("error: a row is outside the bounds")
        raise typer.Exit(1)


@APP.command()
def speed(
    model: ModelName = DEFAULT,
    runtimes: Annotated[str, typer.Option(help="Separated by commas.")] = "openvino",
    precision: Precision = "auto",
    rounds: Annotated[int, typer.Option(min=1, help="Number of rounds.")] = 5,
    seconds: Annotated[float, typer.Option(min=0.0, help="Seconds of a task in a round, at least three calls.")] = 2.0,
    json: AsJson = False,
) -> None:
    """Measure how fast a model encodes texts, single queries and images on each runtime."""
    from babelclip.benchmark.machine import machine_lines, this_machine
    from babelclip.benchmark.speed import measure_speed
    from babelclip.benchmark.tables import ends, number

    with output.progress("loading") as bar:
        rows = measure_speed(
            model,
            words(runtimes),
            precision=precision,
            rounds=rounds,
            seconds=seconds,
            say=lambda label: bar(0, None, label),
            left_out=output.message,
        )
    machine = this_machine()
    if json:
        output.json_line({"machine": asdict(machine), "model": model, "precision": precision})
        for row in rows:
            output.json_line(asdict(row))
        return
    cells = [(row.task, row.runtime, ends(row.per_second), number(row.p50_ms), number(row.p95_ms)) for row in rows]
    headings = ("task", "runtime", "per second (lowest to highest)#", "p50 ms per call#", "p95 ms#")
    output.table(headings, cells, title=f"Speed of {model}")
    for line in machine_lines(machine):
        output.message(line)
