"""babelclip benchmark serve: load test of the service."""

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from babelclip.cli import output
from babelclip.cli.options import AsJson, ModelName
from babelclip.models.registry import DEFAULT

if TYPE_CHECKING:
    from babelclip.benchmark.serve import ServeReport


def serve(
    model: ModelName = DEFAULT,
    rounds: Annotated[int, typer.Option(min=1, help="Number of rounds.")] = 3,
    seconds: Annotated[float, typer.Option(min=0.1, help="Seconds of each load.")] = 5.0,
    requests: Annotated[
        int, typer.Option(min=0, help="Number of requests over which memory is measured; 0 skips it.")
    ] = 0,
    markdown: Annotated[Path | None, typer.Option(help="Write the page to this file.")] = None,
    json: AsJson = False,
) -> None:
    """Measure the service under load, against the model alone."""
    from babelclip.benchmark.serve import measure_service
    from babelclip.benchmark.serve_page import as_markdown

    with tempfile.TemporaryDirectory(prefix="babelclip-serve-") as scratch, output.progress("starting") as bar:
        report = measure_service(
            model,
            Path(scratch),
            rounds=rounds,
            seconds=seconds,
            requests=requests,
            say=lambda label: bar(0, None, label),
        )
    show(report, as_json=json)
    if markdown is not None:
        markdown.write_text(as_markdown(report), encoding="utf-8")


def show(report: "ServeReport", *, as_json: bool) -> None:
    """Print a report on the service under load.

    :param report: the report
    :param as_json: as JSON lines in place of tables
    """
    from babelclip.benchmark.serve_page import BAR_COLUMNS, bar_rows, notes, server_columns, server_rows

    if as_json:
        bars = [{"what": w, "bar": b, "got": asdict(g), "met": m} for w, b, g, m in report.bars()]
        output.json_line(
            {"machine": asdict(report.machine), "model": report.model, "bars": bars, "memory": report.memory}
        )
        for own in report.rounds:
            output.json_line(own.as_json())
    else:
        output.table(server_columns(report), server_rows(report))
        output.table(BAR_COLUMNS, bar_rows(report))
        for line in notes(report):
            output.message(line)
