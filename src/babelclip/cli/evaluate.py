"""babelclip evaluate: measure the quality of a model by language."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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


Images = Annotated[Path | None, typer.Option(help="Tar file or folder of images, for --captions and --zero-shot.")]
Captions = Annotated[
    Path | None, typer.Option(help="Measure retrieval: a table (.tsv, .tsv.gz) of image, lang, kind, caption.")
]
ZeroShot = Annotated[
    Path | None,
    typer.Option(
        "--zero-shot",
        help="Measure classification: class names as in Babel-ImageNet (.json.gz), or a caption table of labels.",
    ),
]
Templates = Annotated[bool, typer.Option("--templates", help="With --zero-shot: measure with templates too.")]
Calibration = Annotated[
    bool, typer.Option("--calibration", help="With --zero-shot: measure the calibration of probabilities.")
]
Abstention = Annotated[
    bool, typer.Option("--abstention", help="With --zero-shot: measure the rejection of images of other classes.")
]
Pairs = Annotated[
    Path | None,
    typer.Option(help="Measure translation: a folder of LANG.tsv.gz (English, tab, translation) or LANG.txt."),
]
Only = Annotated[str, typer.Option(help="Only images whose name begins with one of these words, separated by commas.")]
Languages = Annotated[str, typer.Option(help="Only these languages, separated by commas. [default: all]")]
Markdown = Annotated[Path | None, typer.Option(help="Write the tables to this file.")]
Plots = Annotated[Path | None, typer.Option(help="Write a plot of each evaluation to this folder.")]


@dataclass(frozen=True, slots=True)
class _Selection:
    """The languages and the prefixes of picture names to measure; all if empty."""

    languages: tuple[str, ...]
    prefixes: tuple[str, ...]

    def has(self, language: str) -> bool:
        """Return whether a language is selected."""
        return not self.languages or language in self.languages

    def pictures(self, path: Path) -> Iterator[tuple[str, bytes]]:
        """Read the selected pictures."""
        return beginning_with(read_pictures(path), self.prefixes)


@dataclass(frozen=True, slots=True)
class _ClassificationOptions:
    """Measurements of classification besides accuracy."""

    templates: bool
    calibration: bool
    abstention: bool


def evaluate(
    images: Images = None,
    captions: Captions = None,
    zero_shot: ZeroShot = None,
    templates: Templates = False,
    calibration: Calibration = False,
    abstention: Abstention = False,
    pairs: Pairs = None,
    only: Only = "",
    languages: Languages = "",
    markdown: Markdown = None,
    plots: Plots = None,
    model: ModelName = DEFAULT,
    runtime: Runtime = None,
    precision: Precision = "float32",
    json: AsJson = False,
) -> None:
    """Measure retrieval, zero-shot classification and translation of a model by language, in one report."""
    if not (captions or zero_shot or pairs):
        raise typer.BadParameter("nothing to measure; give --captions, --zero-shot or --pairs, or several of them")
    if (captions or zero_shot) and images is None:
        raise typer.BadParameter("--captions and --zero-shot need pictures; give --images")
    if zero_shot is None and (templates or calibration or abstention):
        raise typer.BadParameter("--templates, --calibration and --abstention need class names; give --zero-shot")
    loaded = load(model, runtime, precision)
    selection = _Selection(words(languages), words(only))
    reports = []
    if captions and images:
        reports.append(_retrieval(loaded, images, captions, selection))
    if zero_shot and images:
        options = _ClassificationOptions(templates, calibration, abstention)
        reports += _zero_shot(loaded, images, zero_shot, selection, options)
    if pairs:
        reports.append(_translation(loaded, pairs, selection))
    for report in reports:
        _show(report, loaded, as_json=json)
    if markdown is not None:
        files = [path.name for path in (images, captions, zero_shot, pairs) if path is not None]
        _write_markdown(markdown, reports, loaded, files, selection)
    if plots is not None:
        _write_plots(plots, reports, loaded)


def _retrieval(model: Model, images: Path, captions: Path, selection: _Selection) -> Report:
    """Measure retrieval."""
    rows = [row for row in read_captions(captions) if selection.has(row.language)]
    with _language_bar("retrieval", len({row.language for row in rows})) as finished:
        return evaluate_retrieval(model, selection.pictures(images), rows, progress=finished)


def _translation(model: Model, pairs: Path, selection: _Selection) -> Report:
    """Measure translation."""
    sets = [of_language for of_language in read_pairs(pairs) if selection.has(of_language.language)]
    with _language_bar("translation", len(sets)) as finished:
        return evaluate_translation(model, sets, progress=finished)


def _zero_shot(
    model: Model, images: Path, names: Path, selection: _Selection, options: _ClassificationOptions
) -> list[Report]:
    """Measure zero-shot classification."""
    class_of = None
    if ".tsv" in names.name:
        class_of, classes = read_labelled(names)
    else:
        classes = read_class_names(names)
    chosen = [of_language for of_language in classes if selection.has(of_language.language)]
    with _language_bar("zero-shot", len(chosen)) as finished:
        named = embed_named(model, selection.pictures(images), class_of)
        return score_zero_shot(
            model,
            named,
            chosen,
            templates=options.templates,
            calibration=options.calibration,
            abstention=options.abstention,
            progress=finished,
        )


def _write_markdown(
    target: Path, reports: Sequence[Report], model: Model, files: Sequence[str], selection: _Selection
) -> None:
    """Write the tables as Markdown."""
    part = f" (names beginning with {', '.join(selection.prefixes)})" if selection.prefixes else ""
    source = (
        f"Model {model.name} ({model.fingerprint[:12]}); data: {', '.join(files)}{part}. Cosine of unit rows; "
        "intervals are 95% bootstrap over the queries, for means over the languages, for AUC over the splits of the "
        "classes. T>I: every caption is a query over all pictures; I>T: every picture is a query over all captions of "
        "the language. Written by `babelclip evaluate --markdown`."
    )
    page = as_markdown(reports, model.languages, heading="Quality by language", source=source)
    target.write_text(page, encoding="utf-8")
    output.message(f"tables: {target}")


def _write_plots(folder: Path, reports: Sequence[Report], model: Model) -> None:
    """Write a plot of each report."""
    folder.mkdir(parents=True, exist_ok=True)
    for report in reports:
        file = folder / f"{report.title.lower().replace(' ', '-')}.png"
        plot(report, PLOTTED[report.title], model.languages, file)
        output.message(f"plot: {file}")


@contextmanager
def _language_bar(label: str, total: int) -> Iterator[Callable[[str], None]]:
    """Show a progress bar that counts the measured languages."""
    with output.progress(f"{label}: pictures", total) as bar:
        done = 0

        def finished(language: str) -> None:
            nonlocal done
            done += 1
            bar(done, total, f"{label}: {language}")

        yield finished


def _show(report: Report, model: Model, *, as_json: bool) -> None:
    """Print a report."""
    for name, reason in report.failed:
        output.message(f"picture {name} is left out: {reason}")
    for note in report.notes:
        output.message(f"{report.title}: {note}")
    if as_json:
        for row in as_data(report, model.languages):
            output.json_line(row)
        return
    show_report(report, summary(report, model.languages))
