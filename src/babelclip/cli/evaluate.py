"""babelclip evaluate: how well a model finds pictures, by language."""

from pathlib import Path
from typing import Annotated

import typer

from babelclip.cli import output
from babelclip.cli.options import AsJson, ModelName, Runtime, load
from babelclip.evaluation.captions import beginning_with, read_captions, read_pictures
from babelclip.evaluation.report import as_data, as_markdown, summary
from babelclip.evaluation.retrieval import CUTS, evaluate_retrieval
from babelclip.registry import DEFAULT


def evaluate(
    images: Annotated[Path, typer.Option(help="A tar file or a folder of pictures.")],
    captions: Annotated[Path, typer.Option(help="A table (.tsv, .tsv.gz): image, lang, kind, caption.")],
    only: Annotated[
        str, typer.Option(help="Only pictures whose name begins with one of these words, parted by commas.")
    ] = "",
    markdown: Annotated[Path | None, typer.Option(help="Write the tables to this file.")] = None,
    model: ModelName = DEFAULT,
    runtime: Runtime = None,
    json: AsJson = False,
) -> None:
    """Measure text -> picture retrieval by language: recall@k and mean reciprocal rank."""
    loaded = load(model, runtime)
    prefixes = tuple(word.strip() for word in only.split(",") if word.strip())
    rows = read_captions(captions)
    with output.progress("pictures", None) as bar:
        languages = len({row.language for row in rows})
        done = 0

        def finished(language: str) -> None:
            nonlocal done
            done += 1
            bar(done, languages, f"captions in {language}")

        pictures = beginning_with(read_pictures(images), prefixes)
        report = evaluate_retrieval(loaded, pictures, rows, progress=finished)
    for name, reason in report.failed:
        output.message(f"left out: {name}: {reason}")
    if json:
        for row in as_data(report, loaded.languages):
            output.json_line(row)
    else:
        scores = [*summary(report, loaded.languages), *report.scores]
        cells = [
            (
                score.language,
                str(score.queries),
                *(f"{score.recall[cut]:.3f}" for cut in CUTS),
                f"{score.mean_reciprocal_rank:.3f}",
            )
            for score in scores
        ]
        output.table(("language", "queries#", *(f"R@{cut}#" for cut in CUTS), "MRR#"), cells)
    if markdown is not None:
        part = f", names beginning with {', '.join(prefixes)}" if prefixes else ""
        source = (
            f"Model {loaded.name} ({loaded.fingerprint[:12]}), {report.pictures} pictures of {images.name}{part}, "
            f"captions of {captions.name}. Text -> picture: every caption is a query over all pictures, its own "
            f"picture the one right answer. Written by `babelclip evaluate --markdown`."
        )
        page = as_markdown(report, loaded.languages, heading="Retrieval by language", source=source)
        markdown.write_text(page, encoding="utf-8")
        output.message(f"tables: {markdown}")
