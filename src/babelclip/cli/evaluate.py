"""babelclip evaluate: how good a model is, by language."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from babelclip.cli import output
from babelclip.cli.evaluation_table import show_report
from babelclip.cli.options import AsJson, ModelName, Precision, Runtime, load, words
from babelclip.evaluation.captions import beginning_with, read_captions, read_pictures
from babelclip.evaluation.classification import (
    embed_named,
    read_labelled,
    score_zero_shot,
)
from babelclip.evaluation.report import as_data, as_markdown, plot, summary
from babelclip.evaluation.retrieval import evaluate_retrieval
from babelclip.evaluation.scores import Report
from babelclip.evaluation.translation import evaluate_translation, read_pairs
from babelclip.models.model import Model
from babelclip.models.registry import DEFAULT
from babelclip.zeroshot.class_names import read_class_names

PLOTTED = {
    "Retrieval": "T>I R@10",
    "Zero-shot classification": "top-1",
    "Calibration": "ECE",
    "Abstention": "AUC",
    "Translation": "both",
}


def evaluate(
    images: Annotated[
        Path | None, typer.Option(help="Tar file or folder of images, for --captions and --zero-shot.")
    ] = None,
    captions: Annotated[
        Path | None, typer.Option(help="Retrieval: a table (.tsv, .tsv.gz) of image, lang, kind, caption.")
    ] = None,
    zero_shot: Annotated[
        Path | None,
        typer.Option(
            "--zero-shot",
            help="Classification: class names as in Babel-ImageNet (.json.gz), or a caption table of labels.",
        ),
    ] = None,
    templates: Annotated[
        bool, typer.Option("--templates", help="With --zero-shot: measure with templates too.")
    ] = False,
    calibration: Annotated[
        bool, typer.Option("--calibration", help="With --zero-shot: measure the calibration of probabilities.")
    ] = False,
    abstention: Annotated[
        bool, typer.Option("--abstention", help="With --zero-shot: measure the rejection of images of other classes.")
    ] = False,
    pairs: Annotated[
        Path | None, typer.Option(help="Translation: a folder of LANG.tsv.gz (English, tab, translation) or LANG.txt.")
    ] = None,
    only: Annotated[
        str, typer.Option(help="Only images whose name begins with one of these words, separated by commas.")
    ] = "",
    languages: Annotated[str, typer.Option(help="Only these languages, separated by commas. [default: all]")] = "",
    markdown: Annotated[Path | None, typer.Option(help="Write the tables to this file.")] = None,
    plots: Annotated[Path | None, typer.Option(help="Write a plot of each evaluation into this folder.")] = None,
    model: ModelName = DEFAULT,
    runtime: Runtime = None,
    precision: Precision = "float32",
    json: AsJson = False,
) -> None:
    """Measure a model by language: retrieval, zero-shot classification, translation; any of them, in one report."""
    if not (captions or zero_shot or pairs):
        raise typer.BadParameter("give --captions, --zero-shot or --pairs, or several of them")
    if (captions or zero_shot) and images is None:
        raise typer.BadParameter("--captions and --zero-shot need --images")
    if zero_shot is None and (templates or calibration or abstention):
        raise typer.BadParameter("--templates, --calibration and --abstention need --zero-shot")
    loaded = load(model, runtime, precision)
    prefixes, codes = words(only), words(languages)
    reports = []
    if captions and images:
        rows = [row for row in read_captions(captions) if not codes or row.language in codes]
        with _counted("retrieval", len({row.language for row in rows})) as finished:
            pictures = beginning_with(read_pictures(images), prefixes)
            reports.append(evaluate_retrieval(loaded, pictures, rows, progress=finished))
    if zero_shot and images:
        reports += _zero_shot(
            loaded,
            beginning_with(read_pictures(images), prefixes),
            zero_shot,
            codes,
            templates=templates,
            calibration=calibration,
            abstention=abstention,
        )
    if pairs:
        sets = [found for found in read_pairs(pairs) if not codes or found.language in codes]
        with _counted("translation", len(sets)) as finished:
            reports.append(evaluate_translation(loaded, sets, progress=finished))
    for report in reports:
        _show(report, loaded, as_json=json)
    files = [path.name for path in (images, captions, zero_shot, pairs) if path is not None]
    if markdown is not None:
        part = f" (names beginning with {', '.join(prefixes)})" if prefixes else ""
        source = (
            f"Model {loaded.name} ({loaded.fingerprint[:12]}); data: {', '.join(files)}{part}. Cosine of unit rows; "
            "intervals are 95% bootstrap over the queries, for means over the languages, for AUC over the ways of "
            "parting the classes. T>I: every caption is a query over all pictures; I>T: every picture is a query over "
            "all captions of the language. Written by `babelclip evaluate --markdown`."
        )
        page = as_markdown(reports, loaded.languages, heading="Quality by language", source=source)
        markdown.write_text(page, encoding="utf-8")
        output.message(f"tables: {markdown}")
    if plots is not None:
        plots.mkdir(parents=True, exist_ok=True)
        for report in reports:
            file = plots / f"{report.title.lower().replace(' ', '-')}.png"
            plot(report, PLOTTED[report.title], loaded.languages, file)
            output.message(f"plot: {file}")


def _zero_shot(
    model: Model,
    pictures: Iterator[tuple[str, bytes]],
    source: Path,
    languages: Sequence[str],
    *,
    templates: bool,
    calibration: bool,
    abstention: bool,
) -> list[Report]:
    """The measurements of classification that were asked for."""
    class_of = None
    if ".tsv" in source.name:
        class_of, classes = read_labelled(source)
    else:
        classes = read_class_names(source)
    chosen = [names for names in classes if not languages or names.language in languages]
    with _counted("zero-shot", len(chosen)) as finished:
        named = embed_named(model, pictures, class_of)
        return score_zero_shot(
            model,
            named,
            chosen,
            templates=templates,
            calibration=calibration,
            abstention=abstention,
            progress=finished,
        )


@contextmanager
def _counted(label: str, total: int) -> Iterator[Callable[[str], None]]:
    """A bar that counts the languages that were finished."""
    with output.progress(f"{label}: pictures", total) as bar:
        done = 0

        def finished(language: str) -> None:
            nonlocal done
            done += 1
            bar(done, total, f"{label}: {language}")

        yield finished


def _show(report: Report, model: Model, *, as_json: bool) -> None:
    """A report on stdout."""
    for name, reason in report.failed:
        output.message(f"left out: {name}: {reason}")
    for note in report.notes:
        output.message(f"{report.title}: {note}")
    if as_json:
        for row in as_data(report, model.languages):
            output.json_line(row)
        return
    show_report(report, summary(report, model.languages))
