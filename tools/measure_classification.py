"""Measures zero-shot classification with the bundled model and writes docs/benchmarks/classification.md.

    python tools/measure_classification.py --data ../shared/data

ImageNet's sample with the names of Babel-ImageNet in all listed languages, and Caltech-101 with its English labels:
accuracy with and without templates, calibration, abstention. On Caltech-101 also what examples bring to accuracy and to
abstention. And what classification costs beside embedding.
"""

import argparse
import io
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from babelclip.evaluation.captions import read_pictures
from babelclip.evaluation.classification import (
    NamedPictures,
    area_under_curve,
    class_splits,
    embed_named,
    read_labelled,
    score_zero_shot,
)
from babelclip.evaluation.report import language_table, summary_table
from babelclip.evaluation.scores import LanguageScore, Report
from babelclip.models.model import Model
from babelclip.text.languages import CODES
from babelclip.zeroshot import Classifier, Label
from babelclip.zeroshot.class_names import ClassNames, read_class_names
from babelclip.zeroshot.few_shot import refine_by_vectors

ROOT = Path(__file__).parent.parent
FEWEST_NAMES = 300
"""Classes that a language must name for the bar on templates."""
TIMED_PICTURES = 1000
EXAMPLES = (1, 2, 4)
"""Pictures of every label that teach it, for abstention."""
EXPLAINED = """
Written by `tools/measure_classification.py`; `babelclip evaluate --zero-shot --precision auto` gives the same figures
for any model and data. Intervals are 95% bootstrap over the images, for means over the languages, for AUC over the
splits of the classes. The image tower was trained on ImageNet's classes, but not on these images; nothing of
Caltech-101 was used in training.

The calibration error (ECE, 15 bins) is measured on one half of the images, with temperature and label smoothing fitted
on the other, in five random splits. The figure of a perfect classifier is what a perfectly calibrated classifier with
the same confidences would show on as many images by chance: on few images no fit can approach 0. Label smoothing was
chosen among a dozen forms on random halves of these images.

AUC is the probability that an image of a class that is not a label gets a higher probability of "none of these" than
one of a class that is, with half of the classes as labels, in five random splits. Nothing was tuned for it. "AUC if
named" is the value with the names of the left-out classes in place of the background vocabulary: an upper bound for any
list of words.
"""

Bars = list[tuple[str, str, str]]
"""What a bar is of, what is asked for, and what was measured."""

log = logging.getLogger("measure_classification")


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description="Measure zero-shot classification with the bundled model.")
    parser.add_argument("--data", type=Path, required=True, help="the data folder")
    data: Path = parser.parse_args().data
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    model = Model.load(precision="auto")
    parts = [
        "# Quality of classification",
        f"Model {model.name} ({model.fingerprint[:12]}). {EXPLAINED.strip()}",
    ]
    bars: Bars = []
    sections = [*imagenet(model, data, bars), *caltech(model, data, bars), *cost(model, data, bars)]
    table = [
        "| measure | threshold | measured |",
        "|---|---|---|",
        *(f"| {what} | {asked} | {found} |" for what, asked, found in bars),
    ]
    parts += ["\n".join(table), *sections]
    (ROOT / "docs/benchmarks/classification.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def imagenet(model: Model, data: Path, bars: Bars) -> list[str]:
    """Accuracy and calibration among the classes that every language names.

    :param model: the model.
    :param data: the data folder.
    :param bars: gets what was asked for and measured.
    :return: parts of the page.
    """
    classes = [names for names in read_class_names(data / "labels/babel_imagenet.json.gz") if names.language in CODES]
    named = embed_named(model, read_pictures(data / "images/imagenet-sample.tar"))
    log.info("imagenet")
    reports = score_zero_shot(model, named, classes, templates=True, calibration=True, abstention=True)
    accuracy, calibration, abstention = reports
    judged = {names.language for names in classes if len(names.names) >= FEWEST_NAMES}
    gains = {
        score.language: score.figures["templates top-1"].value - score.figures["top-1"].value
        for score in accuracy.scores
        if score.language in judged
    }
    worst = min(gains, key=gains.__getitem__)
    bars += [
        (
            f"largest loss by templates in a language with {FEWEST_NAMES} names",
            "1 point of top-1",
            f"worst {100 * gains[worst]:+.1f} ({worst})",
        ),
        ("calibration error, ImageNet sample, English", "<= 0.08", _error(_english(calibration))),
        ("calibration error, ImageNet sample, mean of languages", "<= 0.08", _error(calibration.mean(CODES))),
        ("AUC of rejection, ImageNet sample, English", "", _area(_english(abstention))),
        ("AUC of rejection, ImageNet sample, mean of languages", "", _area(abstention.mean(CODES))),
    ]
    gain = (
        f"Templates bring {100 * np.mean(list(gains.values())):+.1f} points of top-1 in the mean of the {len(gains)} "
        f"languages that name {FEWEST_NAMES} classes or more; the worst is {100 * gains[worst]:+.1f} in {worst}."
    )
    return [f"## ImageNet sample, names of Babel-ImageNet: {accuracy.subject}", gain, *_tables(*reports)]


def caltech(model: Model, data: Path, bars: Bars) -> list[str]:
    """Accuracy, calibration, abstention, and what examples bring.

    :param model: the model.
    :param data: the data folder.
    :param bars: gets what was asked for and measured.
    :return: parts of the page.
    """
    class_of, classes = read_labelled(data / "captions/caltech101.tsv.gz")
    named = embed_named(model, read_pictures(data / "images/caltech101.tar"), class_of)
    log.info("caltech")
    accuracy, calibration, abstention = reports = score_zero_shot(
        model, named, classes, templates=True, calibration=True, abstention=True
    )
    bars += [
        ("calibration error, Caltech-101", "<= 0.08", _error(_english(calibration))),
        ("AUC of rejection, Caltech-101", ">= 0.85", _area(_english(abstention))),
    ]
    (english,) = classes
    vectors, truth = named.of(english.names)
    gain = refine_by_vectors(_labels(model, english), vectors, truth)
    if gain.accuracy is None or gain.calibration_error is None:
        raise SystemExit("Caltech-101 has one picture a class only")
    few_shot = (
        f"By leave-one-out over {gain.judged} pictures of {gain.classes} classes: {gain.text_accuracy:.3f} "
        f"by the texts alone, {gain.accuracy:.3f} with the other examples of each class (weight {gain.weight}); "
        f"calibration error then {gain.calibration_error:.3f}."
    )
    parts = [f"## Caltech-101, its English labels: {accuracy.subject}"]
    for report in reports:
        parts += [f"### {report.title}", language_table(report, CODES)]
    return [*parts, "### Examples", few_shot, _abstention_with_examples(model, named, english)]


def _abstention_with_examples(model: Model, named: NamedPictures, classes: ClassNames) -> str:
    """How well other classes are noticed where every label has a few pictures, which are not judged themselves."""
    labels = _labels(model, classes, abstain=0.5)
    vectors, truth = named.of(classes.names)
    lines = ["| examples a label, at most | AUC of rejection |", "|---:|---:|"]
    for most in EXAMPLES:
        areas = []
        for split, known in enumerate(class_splits(len(labels.labels))):
            order = np.random.default_rng(split).permutation(len(truth))
            own = [order[truth[order] == place] for place in known]
            taken = np.concatenate([rows[: min(most, len(rows) - 1)] for rows in own])
            some = labels.among(known.tolist())
            refine_by_vectors(some, vectors[taken], np.searchsorted(known, truth[taken]))
            rest = np.setdiff1d(order, taken)
            inside, none = np.isin(truth[rest], known), some.probabilities(vectors[rest])[1]
            if none is not None:
                areas.append(area_under_curve(none[~inside], none[inside]))
        lines.append(f"| {most} | {np.mean(areas):.3f} |")
    return "\n".join(lines)


def cost(model: Model, data: Path, bars: Bars) -> list[str]:
    """What 1,000 classes cost beside embedding.

    :param model: the model.
    :param data: the data folder.
    :param bars: gets what was asked for and measured.
    :return: parts of the page.
    """
    (english,) = [names for names in read_class_names(data / "labels/babel_imagenet.json.gz") if names.language == "en"]
    classifier = _labels(model, english)
    contents = [content for _, content in read_pictures(data / "images/imagenet-sample.tar")][:TIMED_PICTURES]
    decoded = []
    for content in contents:
        with Image.open(io.BytesIO(content)) as image:
            decoded.append(image.convert("RGB"))
    log.info("cost")
    vectors = model.encode_images(decoded)
    times: list[tuple[float, float]] = []
    for _ in range(3):
        times.append((_seconds(lambda: model.encode_images(decoded)), _seconds(lambda: classifier.predict(vectors))))
    embedding, prediction = np.median(np.array(times), axis=0)
    share = f"{100 * prediction / embedding:.1f}%"
    bars.append(("1,000 classes cost, beside embedding", "<= 2%", share))
    return [
        "## Cost",
        f"{len(decoded)} decoded pictures, {len(english.names)} classes, medians of three: embedding "
        f"{embedding:.2f} s, then classifying {prediction:.3f} s, {share} more.",
    ]


def _labels(model: Model, classes: ClassNames, abstain: float | None = None) -> Classifier:
    """The names of one language as labels."""
    labels = [Label(name, (name,), key=key) for key, name in classes.names.items()]
    return Classifier(model, labels, language=classes.language, abstain=abstain)


def _english(report: Report) -> LanguageScore:
    """The score of English."""
    return next(score for score in report.scores if score.language == "en")


def _error(score: LanguageScore) -> str:
    """A calibration error, and what chance alone would give."""
    return f"{score.figures['ECE'].value:.3f}; a perfect one {score.figures['ECE if perfect'].value:.3f}"


def _area(score: LanguageScore) -> str:
    """An area under the curve, and the most that texts could give."""
    return f"{score.figures['AUC'].value:.3f}; if named {score.figures['AUC if named'].value:.3f}"


def _seconds(task: Callable[[], object]) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


def _tables(*reports: Report) -> Sequence[str]:
    """Summary and languages of reports."""
    parts = []
    for report in reports:
        parts += [f"### {report.title}", summary_table(report, CODES), language_table(report, CODES)]
    return parts


if __name__ == "__main__":
    main()
