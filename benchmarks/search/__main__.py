"""python -m benchmarks.search: neighbour search in synthetic vectors, against other libraries."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from babelclip.benchmark.machine import machine_lines, this_machine
from babelclip.benchmark.search import measure_sizes
from babelclip.cli import output
from babelclip.cli.benchmark_search import picture_sample, show, sizes_of
from babelclip.cli.options import AsJson
from babelclip.evaluation.captions import read_captions
from babelclip.models.model import Model
from babelclip.models.registry import DEFAULT
from benchmarks.search.adapters import EF_CONSTRUCTION, M
from benchmarks.search.autofaiss_baseline import autofaiss_baseline
from benchmarks.search.libraries import compare_libraries, versions
from benchmarks.search.page import as_markdown, libraries_as_markdown

APP = typer.Typer(help="Neighbour search in synthetic vectors, against other libraries.", no_args_is_help=True)

Pictures = Annotated[
    list[Path] | None,
    typer.Option(help="Pictures that vectors are modelled on: a tar or a folder; repeatable. [default: drawn]"),
]
Captions = Annotated[
    list[Path] | None, typer.Option(help="Text queries: a caption table; repeatable. [default: everyday words]")
]
Folder = Annotated[Path | None, typer.Option(help="Where the collections are made during the run.")]
Markdown = Annotated[Path | None, typer.Option(help="Write the page to this file.")]


@APP.command()
def sizes(
    counts: Annotated[str, typer.Option("--sizes", help="Numbers of vectors.")] = "10000,100000,1000000",
    pictures: Pictures = None,
    captions: Captions = None,
    folder: Folder = None,
    autofaiss: Annotated[
        Path | None, typer.Option(help="The interpreter of an environment that has autofaiss, to measure its choice.")
    ] = None,
    markdown: Markdown = None,
    json: AsJson = False,
) -> None:
    """Measure our index at several sizes, and the choice of autofaiss."""
    numbers, model = sizes_of(counts), Model.load(DEFAULT)
    with output.progress("encoding pictures") as bar:
        sample = picture_sample(model, pictures or [])
        texts = [caption.text for path in captions or [] for caption in read_captions(path)]
        rows = measure_sizes(
            model,
            sample,
            numbers,
            captions=texts,
            folder=folder,
            baseline=autofaiss_baseline(autofaiss, output.message) if autofaiss else None,
            progress=lambda label: bar(0, None, label),
        )
    show(rows, as_json=json)
    if markdown is not None:
        source = (
            f"Synthetic vectors modelled on those of {len(sample)} {'images' if pictures else 'drawn images'} by "
            f"{model.name} ({model.fingerprint[:12]}). Queries are {'captions' if texts else 'everyday words'} "
            "and synthetic image vectors, one at a time. Recall is relative to exact search; brute force is a product "
            "of float32 vectors in numpy. Resident: memory of an open index after 600 queries. Written by `python -m "
            "benchmarks.search sizes --markdown`."
        )
        markdown.write_text(as_markdown(rows, source=source), encoding="utf-8")


@APP.command()
def libraries(
    size: Annotated[int, typer.Option(min=1000, help="Number of vectors; a million takes an hour or two.")] = 100_000,
    pictures: Pictures = None,
    captions: Captions = None,
    folder: Folder = None,
    rounds: Annotated[int, typer.Option(min=1, help="Number of rounds.")] = 5,
    markdown: Markdown = None,
    json: AsJson = False,
) -> None:
    """Compare our index with usearch and hnswlib, as far as they are installed."""
    model = Model.load(DEFAULT)
    with output.progress("encoding pictures") as bar:
        sample = picture_sample(model, pictures or [])
        texts = [caption.text for path in captions or [] for caption in read_captions(path)]
        rows = compare_libraries(
            model,
            sample,
            size,
            captions=texts,
            folder=folder,
            rounds=rounds,
            say=lambda label: bar(0, None, label),
            left_out=output.message,
        )
    source = (
        f"{size:,} synthetic vectors modelled on those of {len(sample)} {'images' if pictures else 'drawn images'} by "
        f"{model.name} ({model.fingerprint[:12]}). Queries are {'captions' if texts else 'everyday words'} and "
        f"synthetic image vectors, one at a time on one thread; {rounds} rounds of all libraries in one run. Recall is "
        f"relative to exact search. usearch and hnswlib have M {M} and ef_construction {EF_CONSTRUCTION}. "
        f"{machine_lines(this_machine())[0]} Versions: {versions()}. Written by `python -m benchmarks.search libraries "
        "--markdown`."
    )
    page = libraries_as_markdown(rows, source=source)
    if json:
        for row in rows:
            output.json_line(asdict(row))
    else:
        sys.stdout.write(page)
    if markdown is not None:
        markdown.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    APP()
