"""Measures zero-shot classification with the bundled model and writes docs/quality-classification.md.

    python tools/measure_classification.py --data ../shared/data

ImageNet's sample with the names of Babel-ImageNet in all listed languages: accuracy with and without templates, and
calibration. Caltech-101 with its English labels: the same, abstention, and what examples bring. And what classification
costs beside embedding.
"""

import argparse
import io
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from babelclip.class_names import read_class_names
from babelclip.evaluation.captions import read_pictures
from babelclip.evaluation.classification import (
    embed_named,
    read_labelled,
    score_abstention,
    score_accuracy,
    score_calibration,
)
from babelclip.evaluation.report import language_table, summary_table
from babelclip.evaluation.scores import Report
from babelclip.languages import CODES
from babelclip.model import Model
from babelclip.zeroshot import Classifier, Label
from babelclip.zeroshot.examples import refine

ROOT = Path(__file__).parent.parent
FEWEST_NAMES = 300
"""Classes that a language must name for the bar on templates."""
TIMED_PICTURES = 1000
EXPLAINED = """
Written by `tools/measure_classification.py`; `babelclip evaluate --zero-shot --precision auto` gives the same figures
for any model and data. Intervals are 95% bootstrap over the pictures, for means over the languages. The temperature of
the calibration error (ECE, 15 bins) is fitted on one half of the pictures, the error measured on the other. AUC is the
chance that a picture of a class that is no label gets a higher probability of "none of these" than one of a class that
is, with half of the classes as labels, in five ways. ImageNet's classes were seen in the training of the image tower.
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
        f"Model {model.name} ({model.fingerprint[:12]}). " + " ".join(EXPLAINED.split()),
    ]
    bars: Bars = []
    sections = [*imagenet(model, data, bars), *caltech(model, data, bars), *cost(model, data, bars)]
    table = [
        "| bar | asked | measured |",
        "|---|---|---|",
        *(f"| {what} | {asked} | {found} |" for what, asked, found in bars),
    ]
    parts += ["\n".join(table), *sections]
    (ROOT / "docs/quality-classification.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def imagenet(model: Model, data: Path, bars: Bars) -> list[str]:
    """Accuracy and calibration among the classes that every language names.

    :param model: the model.
    :param data: the data folder.
    :param bars: gets what was asked for and measured.
    :return: parts of the page.
    """
    classes = [names for names in read_class_names(data / "labels/babel_imagenet.json.gz") if names.language in CODES]
    named = embed_named(model, read_pictures(data / "images/imagenet-sample.tar"))
    log.info("accuracy")
    accuracy = score_accuracy(model, named, classes, templates=True)
    log.info("calibration")
    calibration = score_calibration(model, named, classes)
    judged = {names.language for names in classes if len(names.names) >= FEWEST_NAMES}
    gains = {
        score.language: score.figures["templates top-1"].value - score.figures["top-1"].value
        for score in accuracy.scores
        if score.language in judged
    }
    worst = min(gains, key=gains.__getitem__)
    errors = [score.figures["ECE"].value for score in calibration.scores]
    bars += [
        (
            f"templates cost no language with {FEWEST_NAMES} names more than",
            "1 point of top-1",
            f"worst {100 * gains[worst]:+.1f} ({worst})",
        ),
        ("calibration error, ImageNet sample", "<= 0.08", f"mean {np.mean(errors):.3f}, highest {max(errors):.3f}"),
    ]
    gain = (
        f"Templates bring {100 * np.mean(list(gains.values())):+.1f} points of top-1 in the mean of the {len(gains)} "
        f"languages that name {FEWEST_NAMES} classes or more; the worst is {100 * gains[worst]:+.1f} in {worst}."
    )
    return [f"## ImageNet sample, names of Babel-ImageNet: {accuracy.subject}", gain, *_tables(accuracy, calibration)]


def caltech(model: Model, data: Path, bars: Bars) -> list[str]:
    """Accuracy, calibration, abstention, and what examples bring.

    :param model: the model.
    :param data: the data folder.
    :param bars: gets what was asked for and measured.
    :return: parts of the page.
    """
    class_of, classes = read_labelled(data / "captions/caltech101.tsv.gz")
    pictures = list(read_pictures(data / "images/caltech101.tar"))
    named = embed_named(model, pictures, class_of)
    log.info("caltech")
    reports = (
        score_accuracy(model, named, classes, templates=True),
        score_calibration(model, named, classes),
        score_abstention(model, named, classes),
    )
    bars += [
        ("calibration error, Caltech-101", "<= 0.08", f"{reports[1].scores[0].figures['ECE'].value:.3f}"),
        ("AUC of abstention, Caltech-101", ">= 0.85", f"{reports[2].scores[0].figures['AUC'].value:.3f}"),
    ]
    (english,) = classes
    labels = [Label(name, (name,), key=key) for key, name in english.names.items()]
    examples: dict[str, list[bytes]] = defaultdict(list)
    for name, content in pictures:
        examples[english.names[class_of[name]]].append(content)
    gain = refine(Classifier(model, labels, language=english.language), examples)
    few_shot = (
        f"Examples, by leave-one-out over {gain.examples} pictures of {gain.classes} classes: {gain.text_accuracy:.3f} "
        f"by the texts alone, {gain.accuracy:.3f} with the other examples of each class (weight {gain.weight}); "
        f"calibration error then {gain.calibration_error:.3f}."
    )
    parts = [f"## Caltech-101, its English labels: {reports[0].subject}"]
    return [*parts, *(f"{report.title}\n\n{language_table(report, CODES)}" for report in reports), few_shot]


def cost(model: Model, data: Path, bars: Bars) -> list[str]:
    """What 1,000 classes cost beside embedding.

    :param model: the model.
    :param data: the data folder.
    :param bars: gets what was asked for and measured.
    :return: parts of the page.
    """
    (english,) = [names for names in read_class_names(data / "labels/babel_imagenet.json.gz") if names.language == "en"]
    labels = [Label(name, (name,), key=key) for key, name in english.names.items()]
    classifier = Classifier(model, labels, language="en")
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
        f"{len(decoded)} decoded pictures, {len(labels)} classes, medians of three: embedding {embedding:.2f} s, then "
        f"classifying {prediction:.3f} s, {share} more.",
    ]


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
