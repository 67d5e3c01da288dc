"""Reports as Markdown tables, as plain data, and as bars."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from babelclip.errors import MissingDependencyError
from babelclip.evaluation.scores import LanguageScore, Report
from babelclip.text.languages import BY_CODE

_BAR_INCHES = 0.22


def summary(report: Report, languages: Sequence[str]) -> list[LanguageScore]:
    """The rows that matter most: English, the mean of the listed languages, the mean of all.

    :param report: what was measured
    :param languages: the codes that the model is meant for
    :return: one to three rows
    """
    rows = [score for score in report.scores if score.language == "en"]
    present = [score.language for score in report.scores]
    listed = set(present) & set(languages)
    if listed:
        rows.append(report.mean(languages))
    return rows if listed == set(present) else [*rows, report.mean(present)]


def as_data(report: Report, languages: Sequence[str]) -> list[dict[str, Any]]:
    """One object a language.

    :param report: what was measured
    :param languages: the codes that the model is meant for
    :return: objects that JSON can hold; a figure is [value, low, high] of its 95% interval
    """
    return [
        {
            "evaluation": report.title,
            "subject": report.subject,
            "language": score.language,
            "listed": score.language in languages,
            "count": score.count,
            **{name: [round(f.value, 4), round(f.low, 4), round(f.high, 4)] for name, f in score.figures.items()},
        }
        for score in report.scores
    ]


def as_markdown(reports: Sequence[Report], languages: Sequence[str], *, heading: str, source: str) -> str:
    """A page with the tables of one or more evaluations.

    :param reports: what was measured
    :param languages: the codes that the model is meant for; others stand in a table of their own
    :param heading: the page's title
    :param source: how it was made: model, data, command
    :return: Markdown
    """
    parts = [f"# {heading}", source]
    for report in reports:
        parts += [f"## {report.title}: {report.subject}", *report.notes, summary_table(report, languages)]
        parts += ["### Listed languages", language_table(report, languages)]
        others = [score for score in report.scores if score.language not in languages]
        if others:
            parts += ["### Other languages", _table(others)]
    return "\n\n".join(parts) + "\n"


def summary_table(report: Report, languages: Sequence[str]) -> str:
    """The rows that matter most, as a table.

    :param report: what was measured
    :param languages: the codes that the model is meant for
    :return: a Markdown table
    """
    return _table(summary(report, languages))


def language_table(report: Report, languages: Sequence[str]) -> str:
    """A row for each of some languages that was measured.

    :param report: what was measured
    :param languages: their codes
    :return: a Markdown table, or a sentence where there is none
    """
    return _table([score for score in report.scores if score.language in languages])


def cells(score: LanguageScore) -> list[str]:
    """A score as the cells of a row: language, count, figures.

    :param score: the score
    :return: texts
    """
    known = BY_CODE.get(score.language)
    name = f"{score.language} {known.name}" if known else score.language
    return [name, str(score.count), *(f"{figure.value:.3f}" for figure in score.figures.values())]


def _table(scores: Sequence[LanguageScore]) -> str:
    """Rows of figures; the first figure shows its interval."""
    if not scores:
        return "None of them was measured."
    names = list(scores[0].figures)
    lines = [f"| language | count | {names[0]} (95%) | " + " | ".join(names[1:]) + " |"]
    lines.append("|---|---:|" + "---:|" * len(names))
    for score in scores:
        row = cells(score)
        first = score.figures[names[0]]
        row[2] += f" ({first.low:.3f}-{first.high:.3f})"
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def plot(report: Report, figure: str, languages: Sequence[str], path: Path) -> None:
    """Bars a language, grouped by script, with their intervals.

    :param report: what was measured
    :param figure: the figure to show
    :param languages: the codes to show, of those that were measured
    :param path: the PNG file to write
    :raises MissingDependencyError: if matplotlib is not installed
    """
    try:
        from matplotlib.figure import Figure as Canvas
    except ModuleNotFoundError:
        raise MissingDependencyError("matplotlib", extra="evaluate") from None
    shown = [score for score in report.scores if score.language in languages and score.language in BY_CODE]
    shown.sort(key=lambda score: (BY_CODE[score.language].script, -score.figures[figure].value), reverse=True)
    scripts = [BY_CODE[score.language].script for score in shown]
    hues = {script: f"C{number % 10}" for number, script in enumerate(sorted(set(scripts)))}
    canvas = Canvas(figsize=(8, 1.4 + _BAR_INCHES * len(shown)), layout="constrained")
    axes = canvas.subplots()
    values = [score.figures[figure] for score in shown]
    names = [f"{BY_CODE[score.language].name} · {script}" for score, script in zip(shown, scripts, strict=True)]
    axes.barh(
        names,
        [value.value for value in values],
        xerr=[[value.value - value.low for value in values], [value.high - value.value for value in values]],
        color=[hues[script] for script in scripts],
        error_kw={"elinewidth": 0.8, "ecolor": "0.3"},
    )
    axes.set(xlim=(0, 1), ylim=(-0.6, len(shown) - 0.4), xlabel=f"{figure} (95% interval)")
    axes.set_title(f"{report.title}, {report.subject}", loc="left")
    axes.tick_params(axis="y", labelsize=7)
    axes.grid(axis="x", alpha=0.3)
    canvas.savefig(path, dpi=120)
