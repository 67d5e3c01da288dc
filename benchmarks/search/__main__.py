"""python -m benchmarks.search: neighbour search in synthetic vectors, against other libraries."""

from pathlib import Path
from typing import Annotated

import typer

from babelclip.benchmark.search import measure_sizes
from babelclip.cli import output
from babelclip.cli.benchmark_search import picture_sample, show, sizes_of
from babelclip.cli.options import AsJson
from babelclip.evaluation.captions import read_captions
from babelclip.models.model import Model
from babelclip.models.registry import DEFAULT
from benchmarks.search.autofaiss_baseline import autofaiss_baseline
from benchmarks.search.page import as_markdown

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


if __name__ == "__main__":
    APP()
