"""What a training leaves behind for people: a plot of its losses and a model card."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from babelclip.errors import MissingDependencyError
from babelclip.evaluation.report import language_table, summary_table
from babelclip.evaluation.scores import Report
from babelclip.text.languages import BY_CODE

PLOT = "loss.png"
CARD = "README.md"

_FRONT = """---
library_name: sentence-transformers
pipeline_tag: sentence-similarity
language: [{languages}]
tags: [sentence-transformers, multilingual-knowledge-distillation]
---
"""


def plot_log(log: Sequence[Mapping[str, float]], path: Path) -> None:
    """Draw the loss by step, and beside it what was measured on the way.

    :param log: entries with ``step``, and ``loss`` or ``eval_...`` figures
    :param path: the PNG file to write
    :raises MissingDependencyError: if matplotlib is not installed
    """
    try:
        from matplotlib.figure import Figure as Canvas
    except ModuleNotFoundError:
        raise MissingDependencyError("matplotlib", extra="train") from None
    losses = [(entry["step"], entry["loss"]) for entry in log if "loss" in entry]
    scores = [(entry["step"], entry["eval_score"]) for entry in log if "eval_score" in entry]
    canvas = Canvas(figsize=(8, 4), layout="constrained")
    axes = canvas.subplots()
    axes.plot(*zip(*losses, strict=True), color="C0", label="loss")
    axes.set(xlabel="step", ylabel="loss, training")
    if scores:
        right = axes.twinx()
        right.plot(*zip(*scores, strict=True), color="C1", marker="o", label="translation accuracy, held out")
        right.set(ylabel="accuracy, held out", ylim=(0, 1))
        right.legend(loc="lower right")
    axes.legend(loc="upper right")
    axes.grid(alpha=0.3)
    canvas.savefig(path, dpi=120)


def write_card(
    path: Path,
    *,
    name: str,
    teachers: Sequence[str],
    student: str,
    pairs: Mapping[str, int],
    corpora: Sequence[str],
    settings: Mapping[str, Any],
    reports: Sequence[Report],
) -> None:
    """Write the model card of a student.

    :param path: the Markdown file
    :param name: what the model is called
    :param teachers: names of the teachers
    :param student: what the student was made of
    :param pairs: language -> sentence pairs it was trained on
    :param corpora: names of the corpora
    :param settings: how it was trained
    :param reports: what was measured on pairs and pictures that training never saw
    """
    languages = sorted(pairs)
    counted = "\n".join(
        f"| {code} {BY_CODE[code].name if code in BY_CODE else ''} | {pairs[code]} |" for code in languages
    )
    chosen = "\n".join(f"| {key} | {value} |" for key, value in settings.items())
    parts = [
        _FRONT.format(languages=", ".join(languages)),
        f"# {name}",
        f"A multilingual student of {' and '.join(teachers)}, made of {student} by multilingual knowledge distillation "
        "(Reimers & Gurevych 2020) with `babelclip distill`: a translation gets the vector that the teacher gives its "
        "source. It opens in sentence-transformers and in babelclip.",
        "## Measured on what training never saw",
        *(
            f"### {r.title}: {r.subject}\n\n{summary_table(r, languages)}\n\n{language_table(r, languages)}"
            for r in reports
        ),
        f"## Trained on\n\nCorpora: {', '.join(corpora)}. Their licences are those of their makers: name them here.",
        f"| language | pairs |\n|---|---:|\n{counted}",
        f"## How\n\n| setting | value |\n|---|---|\n{chosen}\n\n![losses]({PLOT})",
        "## What not to rely on\n\nLanguages that are not in the table above were not taught. A low figure there means "
        "what it says.",
    ]
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _measured(report: Report, languages: Sequence[str]) -> str:
    """A report's heading and tables."""
    tables = summary_table(report, languages), language_table(report, languages)
    return "\n\n".join([f"### {report.title}: {report.subject}", *tables])
