"""babelclip benchmark: measurements as commands."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from babelclip.cli import output
from babelclip.cli.options import AsJson
from babelclip.crawl import photos_below

APP = typer.Typer(help="Measurements as commands.", no_args_is_help=True)


@APP.callback()
def _group() -> None:
    """Measurements as commands."""


@APP.command()
def parity(
    small: Annotated[bool, typer.Option("--small", help="Tiny models, in seconds, instead of the real sizes.")] = False,
    runtimes: Annotated[str, typer.Option(help="Parted by commas.")] = "openvino,onnxruntime,torch",
    photos: Annotated[Path | None, typer.Option(help="A folder of photos to encode beside the made images.")] = None,
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
