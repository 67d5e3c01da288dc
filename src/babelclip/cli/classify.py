"""babelclip classify: zero-shot classification of pictures by labels in any language."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
from babelclip.zeroshot.calibration import MAX_LABEL_SMOOTHING
from babelclip.zeroshot.few_shot import Refinement, read_examples, refine
from babelclip.zeroshot.templates import BARE

NONE = "none of these"
PATH_SEPARATOR = " > "
"""Between the names of a path in the tree of labels."""
MIN_COUNTED = 20
"""Pictures from which the table is followed by the number of pictures of each label."""

Paths = Annotated[list[Path], typer.Argument(help="Photos or folders of photos.", show_default=False)]
Labels = Annotated[str, typer.Option(help="Labels in any language, separated by commas.")]
LabelsFile = Annotated[
    Path | None,
    typer.Option(help="One label per line (a|b: two texts; indented: below the line before), or JSON; see the docs."),
]
Language = Annotated[str | None, typer.Option(help="Language of the labels. [default: identified from all labels]")]
Template = Annotated[
    list[str] | None,
    typer.Option(help="Prompt with {} for the label. Repeatable. [default: those of the language]"),
]
NoTemplates = Annotated[bool, typer.Option("--no-templates", help="Use the bare labels without templates.")]
Top = Annotated[int, typer.Option("--top", "-k", min=1, help="Number of labels per photo.")]
Multi = Annotated[bool, typer.Option("--multi", help="Judge every label by itself: several may apply.")]
Abstain = Annotated[
    float | None,
    typer.Option(
        min=0.01,
        max=0.99,
        help='Answer "none of these" if the background vocabulary has a higher total probability than this.',
    ),
]
Temperature = Annotated[
    float | None, typer.Option(min=0.01, help="Divisor of the logits: over 1 lowers the certainty. [default: 1]")
]
LabelSmoothing = Annotated[
    float | None,
    typer.Option(
        min=0, max=MAX_LABEL_SMOOTHING, help="Share of probability that is spread evenly over all labels. [default: 0]"
    ),
]
Examples = Annotated[
    Path | None,
    typer.Option(help="Few-shot examples: folder with a folder of example images for each label."),
]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print CSV on stdout, one row per label.")]


@dataclass(frozen=True, slots=True)
class _ClassifierOptions:
    """Options of the classifier."""

    language: str | None
    templates: list[str] | None
    temperature: float | None
    label_smoothing: float | None
    multi: bool
    abstain: float | None


def classify(
    paths: Paths,
    labels: Labels = "",
    labels_file: LabelsFile = None,
    language: Language = None,
    template: Template = None,
    no_templates: NoTemplates = False,
    top: Top = 3,
    multi: Multi = False,
    abstain: Abstain = None,
    temperature: Temperature = None,
    label_smoothing: LabelSmoothing = None,
    examples: Examples = None,
    as_csv: AsCsv = False,
    model: ModelName = DEFAULT,
    runtime: Runtime = None,
    precision: Precision = "auto",
    json: AsJson = False,
) -> None:
    """Classify photos by labels in any language."""
    if bool(labels) == (labels_file is not None):
        raise typer.BadParameter("give either --labels or --labels-file")
    if json and as_csv:
        raise typer.BadParameter("--json and --csv exclude each other; give one of them")
    if no_templates and template:
        raise typer.BadParameter("--template and --no-templates exclude each other; give one of them")
    if examples is not None and not (temperature is None and label_smoothing is None):
        raise typer.BadParameter(
            "--examples chooses --temperature and --label-smoothing; leave them out, or --examples"
        )
    given: Sequence[Any] = words(labels) if labels else read_labels(labels_file or Path(), language)
    unreadable: list[OSError] = []
    files = list(dict.fromkeys(file for path in paths for file in photos_below(path.expanduser(), unreadable.append)))
    example_files = read_examples(examples, unreadable.append) if examples is not None else {}
    for error in unreadable:
        output.message(f"{error.filename}: {error.strerror}")
    if not files:
        raise InputError(f"there are no photos in {', '.join(map(str, paths))}; give photos or folders of photos")
    templates = [BARE] if no_templates else template
    options = _ClassifierOptions(language, templates, temperature, label_smoothing, multi, abstain)
    classifier = _make_classifier(model, runtime, precision, given, options)
    if example_files:
        output.message(_effect(refine(classifier, example_files)))
    show = _as_json if json else _as_csv if as_csv else _as_table
    failures: list[ImageError] = []
    show(_predictions(classifier, files, top, failures))
    if unreadable or failures:
        raise typer.Exit(1)


def _make_classifier(
    model: str, runtime: str | None, precision: Precision, labels: Sequence[Any], options: _ClassifierOptions
) -> Classifier:
    """Embed the labels, and report their language."""
    with output.progress("embedding labels") as bar:
        classifier = Classifier(
            load(model, runtime, precision),
            labels,
            templates=options.templates,
            language=options.language,
            temperature=options.temperature or 1.0,
            label_smoothing=options.label_smoothing or 0.0,
            multi=options.multi,
            abstain=options.abstain,
            progress=bar,
        )
    _report_language(classifier, options.language)
    return classifier


def _predictions(
    classifier: Classifier, files: Sequence[Path], top: int, failures: list[ImageError]
) -> Iterator[tuple[Path, Prediction]]:
    """Classify files; report unreadable ones, and append their errors to ``failures``."""
    with output.progress("classifying", len(files)) as bar:
        for done, (file, prediction) in enumerate(classifier.stream(files, top), 1):
            bar(done)
            if isinstance(prediction, ImageError):
                failures.append(prediction)
                output.message(str(prediction))
            else:
                yield file, prediction


def _effect(effect: Refinement) -> str:
    """Describe the effect of few-shot examples."""
    summary = f"{effect.examples} examples of {effect.classes} labels; weight {effect.weight}"
    if effect.accuracy is None or effect.calibration_error is None:
        return f"{summary}; no label has two examples, so their effect is not measured"
    return (
        f"{summary}, temperature {effect.calibration.temperature:.2f}, label smoothing "
        f"{effect.calibration.label_smoothing:.2f}; leave-one-out over {effect.judged} examples: accuracy "
        f"{effect.text_accuracy:.3f} by the texts alone, {effect.accuracy:.3f} with examples; calibration error "
        f"{effect.calibration_error:.3f}"
    )


def _report_language(classifier: Classifier, given: str | None) -> None:
    """Report the language of the labels if it was identified or has no templates."""
    code = classifier.language
    name = BY_CODE[code].name if code in BY_CODE else code
    if code not in BY_CODE:
        problem = "is uncertain" if code is None else f"is {name}, which has no templates"
        output.message(
            f"the language of the labels {problem}: using bare labels and the English background vocabulary; "
            "set it with --language"
        )
    elif given is None:
        output.message(f"language of the labels: {name} (identified; set it with --language)")


def _row(ranked: Ranked) -> dict[str, Any]:
    """Convert a label to a JSON object."""
    row: dict[str, Any] = {"label": ranked.label, "score": round(ranked.score, 6)}
    if len(ranked.path) > 1:
        row["path"] = list(ranked.path)
    if ranked.key:
        row["key"] = ranked.key
    return row


def _as_json(predictions: Iterator[tuple[Path, Prediction]]) -> None:
    """Print one JSON object for each picture, as it is classified."""
    for file, prediction in predictions:
        row = {
            "image": str(file),
            "label": prediction.label,
            "holding": [_row(ranked) for ranked in prediction.holding],
            "ranked": [_row(ranked) for ranked in prediction.ranked],
        }
        output.json_line(row if prediction.none is None else {**row, "none": round(prediction.none, 6)})


def _as_csv(predictions: Iterator[tuple[Path, Prediction]]) -> None:
    """Print one CSV row for each ranked label, as pictures are classified."""
    output.csv_line(("image", "answer", "none", "rank", "label", "key", "score"))
    for file, prediction in predictions:
        none = "" if prediction.none is None else f"{prediction.none:.6f}"
        for rank, ranked in enumerate(prediction.ranked, 1):
            answer = "" if prediction.answer is None else PATH_SEPARATOR.join(prediction.answer.path)
            path = PATH_SEPARATOR.join(ranked.path)
            output.csv_line((str(file), answer, none, rank, path, ranked.key, f"{ranked.score:.6f}"))


def _as_table(predictions: Iterator[tuple[Path, Prediction]]) -> None:
    """Print a table of pictures with their label and the probabilities of the ranked labels."""
    rows, counts = [], Counter[str]()
    for file, prediction in predictions:
        answer = ", ".join(ranked.label for ranked in prediction.holding) or NONE
        counts.update([ranked.label for ranked in prediction.holding] or [NONE])
        shown = [(ranked.label, ranked.score) for ranked in prediction.ranked]
        shown += [] if prediction.none is None else [(NONE, prediction.none)]
        rows.append((str(file), answer, ", ".join(f"{label} {score:.2f}" for label, score in shown)))
    if rows:
        output.table(("photo", "label", "probabilities"), rows)
    if len(rows) >= MIN_COUNTED:
        output.table(("label", "photos#"), [(label, str(count)) for label, count in counts.most_common()])
