"""The service under load against a plain server: ``python -m benchmarks.serve``.

The plain server is FastAPI and sentence-transformers with the same weights.
"""

import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from babelclip.benchmark.serve import measure_service
from babelclip.benchmark.serve_page import as_markdown
from babelclip.cli import output
from babelclip.cli.benchmark_serve import show
from babelclip.cli.options import AsJson, ModelName
from babelclip.models.registry import DEFAULT

BASELINE = "the baseline is a plain server (FastAPI and sentence-transformers) with the same weights; "


def plain_server(folder: Path) -> list[str]:
    """Return the command that serves an exported model with the plain server.

    :param folder: the folder of the exported model
    :return: the command
    """
    return [sys.executable, "-m", "benchmarks.plain_server", str(folder / "text")]


def main(
    model: ModelName = DEFAULT,
    rounds: Annotated[int, typer.Option(min=1, help="Number of rounds.")] = 3,
    seconds: Annotated[float, typer.Option(min=0.1, help="Seconds of each load.")] = 5.0,
    requests: Annotated[int, typer.Option(min=0, help="Requests over which memory is sampled; 0: not.")] = 0,
    markdown: Annotated[Path | None, typer.Option(help="Write the page to this file.")] = None,
    json: AsJson = False,
) -> None:
    """Measure the service under load, against the model alone and a plain server."""
    with tempfile.TemporaryDirectory(prefix="babelclip-serve-") as scratch, output.progress("starting") as bar:
        report = measure_service(
            model,
            Path(scratch),
            rounds=rounds,
            seconds=seconds,
            requests=requests,
            baseline=plain_server,
            say=lambda label: bar(0, None, label),
        )
    show(report, as_json=json)
    if markdown is not None:
        page = as_markdown(report, baseline=BASELINE, command="python -m benchmarks.serve")
        markdown.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
