"""babelclip benchmark search: how fast and how well neighbours are found."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from babelclip.cli import output
from babelclip.cli.options import AsJson, words
from babelclip.errors import InputError
from babelclip.models.registry import DEFAULT

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
    autofaiss: Annotated[
        Path | None,
        typer.Option(help="Interpreter of an environment with autofaiss, which is measured too."),
    ] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the table to this file.")] = None,
    json: AsJson = False,
) -> None:
    """Measure neighbour search on synthetic vectors: build time, recall, time per query, memory."""
    from babelclip.benchmark.made_collections import drawn_pictures
    from babelclip.benchmark.neighbours import as_markdown, measure_sizes
    from babelclip.evaluation.captions import read_captions, read_pictures
    from babelclip.models.model import Model

    counts = [int(size) for size in words(sizes) if size.isdecimal() and int(size) >= SMALLEST]
    if len(counts) != len(words(sizes)) or not counts:
        raise InputError(f"sizes {sizes!r} must be whole numbers of at least {SMALLEST}, separated by commas")
    model = Model.load(DEFAULT)
    real = [content for path in pictures or [] for _, content in read_pictures(path)]
    if pictures and len(real) < FEWEST_PICTURES:
        raise InputError(f"{len(real)} pictures are too few to make others after; at least {FEWEST_PICTURES} are")
    with output.progress("encoding pictures") as bar:
        sample = model.encode_images(real or list(drawn_pictures()))
        texts = [caption.text for path in captions or [] for caption in read_captions(path)]
        rows = measure_sizes(
            model,
            sample,
            counts,
            captions=texts,
            folder=folder,
            autofaiss=autofaiss,
            progress=lambda what: bar(0, None, what),
            left_out=output.message,
        )
    if json:
        for row in rows:
            output.json_line(asdict(row))
    else:
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
    if markdown is not None:
        source = (
            f"Synthetic vectors modelled on those of {len(sample)} {'images' if real else 'drawn images'} by "
            f"{model.name} ({model.fingerprint[:12]}). Queries are {'captions' if texts else 'everyday words'} "
            "and synthetic image vectors, one at a time. Recall is relative to exact search; brute force is a product "
            "of float32 vectors in numpy. Resident: memory of an open index after 600 queries. Written by `babelclip "
            "benchmark search --markdown`."
        )
        markdown.write_text(as_markdown(rows, source=source), encoding="utf-8")
