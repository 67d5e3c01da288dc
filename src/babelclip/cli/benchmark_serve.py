"""babelclip benchmark serve: the service under load."""

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from babelclip.cli import output
from babelclip.cli.options import AsJson, ModelName
from babelclip.models.registry import DEFAULT


def serve(
    model: ModelName = DEFAULT,
    rounds: Annotated[int, typer.Option(min=1, help="Number of rounds.")] = 3,
    seconds: Annotated[float, typer.Option(min=0.1, help="Seconds of each load.")] = 5.0,
    requests: Annotated[
        int, typer.Option(min=0, help="Number of requests over which memory is measured; 0 skips it.")
    ] = 0,
    no_naive: Annotated[
        bool, typer.Option("--no-naive", help="Do not measure the plain server, which needs torch.")
    ] = False,
    markdown: Annotated[Path | None, typer.Option(help="Write the page to this file.")] = None,
    json: AsJson = False,
) -> None:
    """Measure the service under load, beside the model alone and a server of FastAPI and sentence-transformers."""
    from babelclip.benchmark.serve import measure_service
    from babelclip.benchmark.serve_page import BAR_COLUMNS, SERVER_COLUMNS, as_markdown, bar_rows, notes, server_rows

    with tempfile.TemporaryDirectory(prefix="babelclip-serve-") as scratch, output.progress("starting") as bar:
        report = measure_service(
            model,
            Path(scratch),
            rounds=rounds,
            seconds=seconds,
            requests=requests,
            naive=not no_naive,
            say=lambda label: bar(0, None, label),
        )
    if json:
        bars = [{"what": w, "bar": b, "got": asdict(g), "met": m} for w, b, g, m in report.bars()]
        output.json_line({"machine": asdict(report.machine), "model": model, "bars": bars, "memory": report.memory})
        for own in report.rounds:
            output.json_line(own.as_json())
    else:
        output.table(SERVER_COLUMNS, server_rows(report))
        output.table(BAR_COLUMNS, bar_rows(report))
        for line in notes(report):
            output.message(line)
    if markdown is not None:
        markdown.write_text(as_markdown(report), encoding="utf-8")
