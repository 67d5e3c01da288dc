"""Output of reports: Markdown tables, JSON data, plots."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from babelclip.evaluation.scores import LanguageScore, Report
from babelclip.extras import importing
from babelclip.text.languages import BY_CODE

_BAR_INCHES = 0.22


def summary(report: Report, languages: Sequence[str]) -> list[LanguageScore]:
    """Summarize a report: English, the mean of the model's languages, the mean of all.

    :param report: the report
    :param languages: codes of the model's languages
    :return: one to three rows
    """
    rows = [score for score in report.scores if score.language == "en"]
    present = [score.language for score in report.scores]
    listed = set(present) & set(languages)
    if listed:
        rows.append(report.mean(languages))
    return rows if listed == set(present) else [*rows, report.mean(present)]


def as_data(report: Report, languages: Sequence[str]) -> list[dict[str, Any]]:
    """Convert a report to JSON objects, one for each language.

    :param report: the report
    :param languages: codes of the model's languages
    :return: JSON objects; a figure is [value, low, high] with its 95% interval
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
    """Format a page with the tables of one or more reports.

    :param reports: the reports
    :param languages: codes of the model's languages; others have a separate table
    :param heading: the title of the page
    :param source: description of model, data and command
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
    """Format the summary as a table.

    :param report: the report
    :param languages: codes of the model's languages
    :return: a Markdown table
    """
    return _table(summary(report, languages))


def language_table(report: Report, languages: Sequence[str]) -> str:
    """Format the scores of languages as a table.

    :param report: the report
    :param languages: codes of the languages; those without a score are ignored
    :return: a Markdown table, or a sentence if it would be empty
    """
    return _table([score for score in report.scores if score.language in languages])


def cells(score: LanguageScore) -> list[str]:
    """Format a score as cells of a row: language, count, figures.

    :param score: the score
    :return: texts
    """
    known = BY_CODE.get(score.language)
    name = f"{score.language} {known.name}" if known else score.language
    return [name, str(score.count), *(f"{figure.value:.3f}" for figure in score.figures.values())]


def _table(scores: Sequence[LanguageScore]) -> str:
    """Format scores as a table; the first figure has its interval."""
    if not scores:
        return "No language of this table was measured."
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
    """Plot a figure by language as bars with intervals, grouped by script.

    :param report: the report
    :param figure: name of the figure
    :param languages: codes of the languages; those without a score are ignored
    :param path: the PNG file to write
    :raises MissingDependencyError: if matplotlib is not installed
    """
    with importing("evaluate"):
        from matplotlib.figure import Figure as Canvas
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
