"""babelclip benchmark search: speed and recall of neighbour search."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from babelclip.cli import output
from babelclip.cli.options import AsJson, ModelName, words
from babelclip.errors import InputError
from babelclip.models.registry import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from babelclip.benchmark.search import SizeRow
    from babelclip.models.model import Model
    from babelclip.vectors import FloatArray

FEWEST_PICTURES = 50
SMALLEST = 100


def search(
    sizes: Annotated[str, typer.Option(help="Numbers of vectors, separated by commas.")] = "10000,100000,1000000",
    pictures: Annotated[
        list[Path] | None,
        typer.Option(
            help="Tar or folder of images that the vectors are modelled on. Repeatable. [default: drawn images]"
        ),
    ] = None,
    captions: Annotated[
        list[Path] | None, typer.Option(help="Caption table of queries. Repeatable. [default: everyday words]")
    ] = None,
    folder: Annotated[Path | None, typer.Option(help="Folder for the temporary collections.")] = None,
    index_file: Annotated[
        Path | None, typer.Option("--index", "-i", help="Measure this index as it is, in place of synthetic vectors.")
    ] = None,
    model: ModelName = DEFAULT,
    json: AsJson = False,
) -> None:
    """Measure the search of an index, or of synthetic vectors: recall against exact search, time per query, memory."""
    from babelclip.benchmark.search import measure_index, measure_sizes
    from babelclip.evaluation.captions import read_captions
    from babelclip.models.model import Model

    counts = sizes_of(sizes)
    loaded = Model.load(model)
    texts = [caption.text for path in captions or [] for caption in read_captions(path)]
    with output.progress("encoding") as bar:

        def progress(label: str) -> None:
            bar(0, None, label)

        if index_file is not None:
            if not index_file.is_file():
                raise InputError(f"{index_file}: no such index")
            rows = [measure_index(index_file, loaded, captions=texts, progress=progress)]
        else:
            sample = picture_sample(loaded, pictures or [])
            rows = measure_sizes(loaded, sample, counts, captions=texts, folder=folder, progress=progress)
    show(rows, as_json=json)


def sizes_of(option: str) -> list[int]:
    """Read the option ``--sizes``.

    :param option: whole numbers, comma-separated
    :return: the numbers
    :raises InputError: if one is not a whole number of at least SMALLEST
    """
    counts = [int(size) for size in words(option) if size.isdecimal() and int(size) >= SMALLEST]
    if len(counts) != len(words(option)) or not counts:
        raise InputError(f"sizes {option!r} must be whole numbers of at least {SMALLEST}, separated by commas")
    return counts


def picture_sample(model: "Model", pictures: list[Path]) -> "FloatArray":
    """Encode the pictures that synthetic vectors are modelled on.

    :param model: encodes them
    :param pictures: tars or folders; none takes drawn pictures
    :return: float32 (n, d), unit rows
    :raises InputError: if there are fewer than FEWEST_PICTURES
    """
    from babelclip.benchmark.synthetic_vectors import drawn_pictures
    from babelclip.evaluation.captions import read_pictures

    real = [content for path in pictures for _, content in read_pictures(path)]
    if pictures and len(real) < FEWEST_PICTURES:
        raise InputError(f"{len(real)} pictures are too few to model others on; give at least {FEWEST_PICTURES}")
    return model.encode_images(real or list(drawn_pictures()))


def show(rows: "Sequence[SizeRow]", *, as_json: bool) -> None:
    """Print rows.

    :param rows: the rows
    :param as_json: as JSON lines in place of a table
    """
    if as_json:
        for row in rows:
            output.json_line(asdict(row))
        return
    cells = [
        (
            f"{row.vectors:,}",
            row.method,
            f"{row.build_seconds:.0f} s",
            f"{row.text_recall:.3f}",
            f"{row.text_p50_ms:.2f} ms",
            f"{row.image_recall:.3f}",
            f"{row.image_p50_ms:.2f} ms",
            f"{row.brute_p50_ms:.1f} ms",
            f"{row.resident_mib:.0f} MiB",
        )
        for row in rows
    ]
    headings = ("vectors#", "how", "build#", "texts#", "p50#", "images#", "p50#", "brute force#", "resident#")
    output.table(headings, cells, title="recall@10 and time a query")
