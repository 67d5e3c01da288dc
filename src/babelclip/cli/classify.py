"""babelclip classify: what pictures show, by labels in any language."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from babelclip.cli import output
from babelclip.cli.options import AsJson, ModelName, Precision, Runtime, load, words
from babelclip.errors import ImageError, InputError
from babelclip.media.crawl import photos_below
from babelclip.models.registry import DEFAULT
from babelclip.text.languages import BY_CODE
from babelclip.zeroshot import Classifier, Prediction, Ranked, read_labels
from babelclip.zeroshot.calibration import MOST_DOUBT
from babelclip.zeroshot.few_shot import Refinement, read_examples, refine
from babelclip.zeroshot.templates import BARE

NONE = "none of these"
PARTED = " > "
"""Between the names of a path."""
SUMMED_UP_FROM = 20
"""Pictures from which the table is followed by how many got each label."""


def classify(
    paths: Annotated[list[Path], typer.Argument(help="Photos or folders of photos.", show_default=False)],
    labels: Annotated[str, typer.Option(help="Labels in any language, separated by commas.")] = "",
    labels_file: Annotated[
        Path | None,
        typer.Option(help="A label a line (a|b: two texts; indented: below the one before), or JSON; see the docs."),
    ] = None,
    language: Annotated[
        str | None, typer.Option(help="Language of the labels. [default: identified from all labels]")
    ] = None,
    template: Annotated[
        list[str] | None,
        typer.Option(help="Prompt with {} for the label. Repeatable. [default: those of the language]"),
    ] = None,
    no_templates: Annotated[
        bool, typer.Option("--no-templates", help="Use the bare labels without templates.")
    ] = False,
    top: Annotated[int, typer.Option("--top", "-k", min=1, help="Number of labels per photo.")] = 3,
    multi: Annotated[bool, typer.Option("--multi", help="Judge every label by itself: several may apply.")] = False,
    abstain: Annotated[
        float | None,
        typer.Option(
            min=0.01, max=0.99, help='Answer "none of these" if everyday words together are more probable than this.'
        ),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(min=0.01, help="Temperature: over 1 lowers the certainty, under 1 raises it. [default: 1]"),
    ] = None,
    doubt: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=MOST_DOUBT,
            help="Label smoothing: share of probability spread evenly over all labels. [default: 0]",
        ),
    ] = None,
    examples: Annotated[
        Path | None, typer.Option(help="Folder with a folder of example images for each label.")
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV on stdout, one row per label.")] = False,
    model: ModelName = DEFAULT,
    runtime: Runtime = None,
    precision: Precision = "auto",
    json: AsJson = False,
) -> None:
    """Classify photos by labels in any language."""
    if bool(labels) == (labels_file is not None):
        raise typer.BadParameter("give --labels or --labels-file, one of them")
    if json and as_csv:
        raise typer.BadParameter("give --json or --csv, not both")
    if no_templates and template:
        raise typer.BadParameter("give --template or --no-templates, not both")
    if examples is not None and not (temperature is None and doubt is None):
        raise typer.BadParameter("--examples chooses --temperature and --doubt; give it or them, not both")
    given: Sequence[Any] = words(labels) if labels else read_labels(labels_file or Path(), language)
    unreadable: list[OSError] = []
    found = (file for path in paths for file in photos_below(path.expanduser(), unreadable.append))
    files = list(dict.fromkeys(found))
    shots = read_examples(examples, unreadable.append) if examples is not None else {}
    for error in unreadable:
        output.message(f"{error.filename}: {error.strerror}")
    if not files:
        raise InputError(f"there are no photos in {', '.join(map(str, paths))}")
    with output.progress("embedding labels") as bar:
        classifier = Classifier(
            load(model, runtime, precision),
            given,
            templates=[BARE] if no_templates else template,
            language=language,
            temperature=temperature or 1.0,
            doubt=doubt or 0.0,
            multi=multi,
            abstain=abstain,
            progress=bar,
        )
    _tell_language(classifier, language)
    if shots:
        output.message(_gain(refine(classifier, shots)))
    failed = len(unreadable)

    def answers() -> Iterator[tuple[Path, Prediction]]:
        nonlocal failed
        with output.progress("classifying", len(files)) as bar:
            for done, (file, prediction) in enumerate(classifier.stream(files, top), 1):
                bar(done)
                if isinstance(prediction, ImageError):
                    failed += 1
                    output.message(str(prediction))
                else:
                    yield file, prediction

    show = _as_json if json else _as_csv if as_csv else _as_table
    show(answers())
    if failed:
        raise typer.Exit(1)


def _gain(gain: Refinement) -> str:
    """What examples brought."""
    what = f"examples: {gain.examples}, of labels: {gain.classes}; weight {gain.weight}"
    if gain.accuracy is None or gain.calibration_error is None:
        return f"{what}, unmeasured: no label has two, so none is judged by another"
    return (
        f"{what}, temperature {gain.calibration.temperature:.2f}, doubt {gain.calibration.doubt:.2f}; each of "
        f"{gain.judged} judged by the others of its label: {gain.text_accuracy:.3f} right by the texts alone, "
        f"{gain.accuracy:.3f} with examples, calibration error {gain.calibration_error:.3f}"
    )


def _tell_language(classifier: Classifier, given: str | None) -> None:
    """Say what the labels were taken for, where that was guessed or has no templates."""
    code = classifier.language
    name = BY_CODE[code].name if code in BY_CODE else code
    if code not in BY_CODE:
        what = "cannot be told" if code is None else f"is {name}, which has no templates"
        output.message(f"the language of the labels {what}: bare labels, and English everyday things; see --language")
    elif given is None:
        output.message(f"labels in {name}, as it seems; --language says otherwise")


def _row(one: Ranked) -> dict[str, Any]:
    """A label as JSON has it."""
    row: dict[str, Any] = {"label": one.label, "score": round(one.score, 6)}
    if len(one.path) > 1:
        row["path"] = list(one.path)
    if one.key:
        row["key"] = one.key
    return row


def _as_json(answers: Iterator[tuple[Path, Prediction]]) -> None:
    """An object a picture, as they come."""
    for file, prediction in answers:
        row = {
            "image": str(file),
            "label": prediction.label,
            "holding": [_row(one) for one in prediction.holding],
            "ranked": [_row(one) for one in prediction.ranked],
        }
        output.json_line(row if prediction.none is None else {**row, "none": round(prediction.none, 6)})


def _as_csv(answers: Iterator[tuple[Path, Prediction]]) -> None:
    """A row a label, as they come."""
    output.csv_line(("image", "answer", "none", "rank", "label", "key", "score"))
    for file, prediction in answers:
        none = "" if prediction.none is None else f"{prediction.none:.6f}"
        for rank, one in enumerate(prediction.ranked, 1):
            answer = "" if prediction.answer is None else PARTED.join(prediction.answer.path)
            output.csv_line((str(file), answer, none, rank, PARTED.join(one.path), one.key, f"{one.score:.6f}"))


def _as_table(answers: Iterator[tuple[Path, Prediction]]) -> None:
    """A row a picture: the answer, and the labels with their probabilities."""
    rows, counts = [], Counter[str]()
    for file, prediction in answers:
        answer = ", ".join(one.label for one in prediction.holding) or NONE
        counts.update([one.label for one in prediction.holding] or [NONE])
        shown = [(one.label, one.score) for one in prediction.ranked]
        shown += [] if prediction.none is None else [(NONE, prediction.none)]
        rows.append((str(file), answer, ", ".join(f"{label} {score:.2f}" for label, score in shown)))
    if rows:
        output.table(("photo", "label", "probabilities"), rows)
    if len(rows) >= SUMMED_UP_FROM:
        output.table(("label", "photos#"), [(label, str(count)) for label, count in counts.most_common()])
