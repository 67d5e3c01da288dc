"""Artifacts of a training run for people: a plot of the losses and a model card."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from babelclip.evaluation.report import language_table, summary_table
from babelclip.evaluation.scores import Report
from babelclip.extras import importing
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
    """Plot the loss by step, and the evaluations during training.

    :param log: entries with ``step``, and ``loss`` or ``eval_...`` figures
    :param path: the PNG file to write
    :raises MissingDependencyError: if matplotlib is not installed
    """
    with importing("train"):
        from matplotlib.figure import Figure as Canvas
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
    :param name: the name of the model
    :param teachers: names of the teachers
    :param student: the name of the folder that the student was made from
    :param pairs: language -> number of training pairs
    :param corpora: names of the corpora
    :param settings: hyperparameters
    :param reports: evaluations on held-out pairs and pictures
    """
    languages = sorted(pairs)
    pair_rows = "\n".join(
        f"| {code} {BY_CODE[code].name if code in BY_CODE else ''} | {pairs[code]} |" for code in languages
    )
    setting_rows = "\n".join(f"| {key} | {value} |" for key, value in settings.items())
    parts = [
        _FRONT.format(languages=", ".join(languages)),
        f"# {name}",
        f"A multilingual student of {' and '.join(teachers)}, made from {student} by multilingual knowledge "
        "distillation (Reimers & Gurevych 2020) with `babelclip distill`: the target of a translation is the teacher's "
        "vector of its source. sentence-transformers and babelclip load it.",
        "## Evaluation on held-out data",
        *(
            f"### {r.title}: {r.subject}\n\n{summary_table(r, languages)}\n\n{language_table(r, languages)}"
            for r in reports
        ),
        f"## Training data\n\nCorpora: {', '.join(corpora)}. Add the licence of each corpus here.",
        f"| language | pairs |\n|---|---:|\n{pair_rows}",
        f"## Hyperparameters\n\n| setting | value |\n|---|---|\n{setting_rows}\n\n![losses]({PLOT})",
        "## Limitations\n\nThe model was not trained on languages that are missing in the table above. The evaluation "
        "shows which of the others it handles badly.",
    ]
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
