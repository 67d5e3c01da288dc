"""Measures a trained pair on all that was held out from it, and on what was not, by language.

    python tools/measure_mini.py MODEL --data ../shared/data --out measured.json

Pictures are embedded once a set; every part of a set is then searched by itself. ship_mini.py turns one or two such
files into docs/benchmarks/quality.md, the table of the model card, and a verdict a language.
"""

import argparse
import csv
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from babelclip.checkpoints.layouts import MANIFEST
from babelclip.evaluation.captions import read_captions, read_pictures
from babelclip.evaluation.classification import embed_named, score_zero_shot
from babelclip.evaluation.report import as_data
from babelclip.evaluation.retrieval import encode_pictures, score_retrieval
from babelclip.evaluation.scores import LanguageScore, Report
from babelclip.evaluation.translation import evaluate_translation, read_pairs
from babelclip.models.model import Model
from babelclip.models.precision import PRECISIONS
from babelclip.text.languages import CODES
from babelclip.zeroshot.class_names import read_class_names
from mini_pairs import is_held_out

NATURAL_OBJECTS = ("animals", "town", "food", "household", "vehicles", "clothes", "plants", "hobbies", "sports")
KEPT = ("T>I R@1", "T>I R@5", "T>I R@10", "T>I MRR", "I>T R@10", "top-1", "top-5", "both")
"""The figures that are written down."""
TRANSLATIONS = ("laser-tatoeba",)

log = logging.getLogger("measure_mini")


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(description="Measure a trained pair by language.")
    parser.add_argument("model", type=Path, help="the folder of the pair")
    parser.add_argument("--data", type=Path, required=True, help="the data folder")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--only", default="", help="only measures whose name begins so")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32", help="in which it runs")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    folder: Path = arguments.model
    if (folder / MANIFEST).is_file():
        both = Model.load(folder, precision=arguments.precision)
    else:
        both = Model.load(text=folder / "text", image=folder / "image", precision=arguments.precision)
    rows = []
    for report in measure(both, arguments.data, arguments.only):
        rows += as_data(report, CODES)
        english = [score for score in report.scores if score.language == "en"]
        others = report.mean([code for code in CODES if code != "en"]) if len(report.scores) > 1 else None
        found = [_first(score) for score in (*english, others) if score is not None]
        log.info("%s, %s: %s", report.title, report.subject, " / ".join(found))
    arguments.out.write_text(json.dumps({"model": both.fingerprint, "rows": rows}, indent=0), encoding="utf-8")


def measure(model: Model, data: Path, only: str = "") -> Iterator[Report]:
    """All measures of a pair.

    :param model: the pair.
    :param data: the data folder.
    :param only: only measures whose name begins so.
    :yield: reports, whose titles name the measure and whose figures are those kept.
    """
    with (data / "captions/flickr8k-splits.tsv").open(encoding="utf-8", newline="") as file:
        splits = {row["image"]: row["split"] for row in csv.DictReader(file, delimiter="\t")}
    parts: dict[str, dict[str, tuple[Callable[[str], bool], Callable[[str], bool]]]] = {
        "flickr8k": {"photos, dev split": (lambda name: splits.get(name) == "dev",) * 2},
        "tuxpaint": {
            "stamps held out": (lambda name: _natural(name) and is_held_out(name),) * 2,
            "stamps held out, among all": (_natural, is_held_out),
        },
        "emoji": {"emoji held out": (is_held_out,) * 2},
    }
    for name, measures in parts.items():
        if any(title.startswith(only) for title in measures):
            yield from _search(model, data, name, measures)
    if "imagenet".startswith(only):
        classes = [
            names for names in read_class_names(data / "labels/babel_imagenet.json.gz") if names.language in CODES
        ]
        named = embed_named(model, read_pictures(data / "images/imagenet-sample.tar"))
        yield _kept(score_zero_shot(model, named, classes)[0], "imagenet")
    for name in TRANSLATIONS:
        if name.startswith(only):
            pairs = (own for own in read_pairs(data / "eval" / name) if own.language in CODES)
            yield _kept(evaluate_translation(model, pairs), name)


def _search(
    model: Model, data: Path, name: str, measures: dict[str, tuple[Callable[[str], bool], Callable[[str], bool]]]
) -> Iterator[Report]:
    """Retrieval over parts of a set: which of its pictures are there, and whose captions are asked for."""
    names, vectors, _ = encode_pictures(model, read_pictures(data / "images" / f"{name}.tar"))
    captions = [c for c in read_captions(data / "captions" / f"{name}.tsv.gz") if c.language in CODES]
    for title, (there, asked) in measures.items():
        rows = [row for row, picture in enumerate(names) if there(picture)]
        wanted = [caption for caption in captions if asked(caption.image)]
        yield _kept(score_retrieval(model, [names[row] for row in rows], vectors[rows], wanted), title)


def _natural(name: str) -> bool:
    """Whether a stamp shows a natural object."""
    return name.startswith(NATURAL_OBJECTS)


def _kept(report: Report, title: str) -> Report:
    """The figures that are written down, under the name of the measure."""
    scores = [replace(s, figures={name: f for name, f in s.figures.items() if name in KEPT}) for s in report.scores]
    return replace(report, title=title, scores=tuple(scores))


def _first(score: LanguageScore) -> str:
    """The figure that a measure is known by."""
    name = next(name for name in ("T>I R@10", "top-1", "both") if name in score.figures)
    return f"{score.language} {name} {score.figures[name].value:.3f}"


if __name__ == "__main__":
    main()
