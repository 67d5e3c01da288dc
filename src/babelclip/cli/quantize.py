"""babelclip quantize: a model that can run in int8."""

from pathlib import Path
from typing import Annotated, Literal, TypeVar

import typer

from babelclip.cli import output
from babelclip.cli.options import AsJson
from babelclip.errors import InputError
from babelclip.media.crawl import photos_below
from babelclip.models import registry
from babelclip.models.quantize import quantize as quantize_model

Sample = TypeVar("Sample")


def quantize(
    name: Annotated[str, typer.Argument(help="Name or folder of a model.")],
    target: Annotated[Path, typer.Argument(help="The folder to create.")],
    texts: Annotated[Path, typer.Option(help="Sample texts, one a line, in the languages that it will read.")],
    images: Annotated[list[Path], typer.Option(help="Sample photos or folders of photos. Repeatable.")],
    weights: Annotated[
        Literal["float32", "float16", "int8"],
        typer.Option(help="Stored form of the weights; int8 rounds once more than int8 execution needs."),
    ] = "float16",
    most: Annotated[int, typer.Option(min=8, help="Largest number of samples of each kind.")] = 1000,
    json: AsJson = False,
) -> None:
    """Write a model that can also run in int8: activation ranges from samples, agreement measured on others."""
    try:
        lines = [line for line in texts.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{texts} cannot be read: {error}") from None
    unreadable: list[OSError] = []
    photos = [photo for path in images for photo in photos_below(path.expanduser(), unreadable.append)]
    for failure in unreadable:
        output.message(f"{failure.filename}: {failure.strerror}")
    bounds = quantize_model(
        registry.find(name),
        target,
        _spread(lines, most),
        _spread(photos, most),
        storage=weights,
        log_line=output.message,
    )
    if json:
        output.json_line({tower: {"rows": b.rows, "least": b.least, "mean": b.mean} for tower, b in bounds.items()})
    else:
        rows = [(tower, str(b.rows), f"{b.least:.5f}", f"{b.mean:.5f}") for tower, b in bounds.items()]
        output.table(("tower", "held out#", "least cosine#", "mean#"), rows, title="int8 against float32")
    output.message(f"model: {target}")


def _spread(samples: list[Sample], most: int) -> list[Sample]:
    """Up to so many samples, evenly from first to last."""
    return samples if len(samples) <= most else [samples[i * len(samples) // most] for i in range(most)]
