"""Reports as Markdown tables and as plain data."""

from collections.abc import Sequence
from typing import Any

from babelclip.evaluation.retrieval import CUTS, RetrievalReport, RetrievalScore
from babelclip.languages import BY_CODE


def summary(report: RetrievalReport, languages: Sequence[str]) -> list[RetrievalScore]:
    """The rows that matter most: English, the mean of the listed languages, the mean of all.

    :param report: what was measured
    :param languages: the codes that the model is meant for
    :return: one to three rows
    """
    rows = [score for score in report.scores if score.language == "en"]
    present = [score.language for score in report.scores]
    if set(present) & set(languages):
        rows.append(report.mean(languages))
    return [*rows, report.mean(present)]


def as_data(report: RetrievalReport, languages: Sequence[str]) -> list[dict[str, Any]]:
    """One object a language.

    :param report: what was measured
    :param languages: the codes that the model is meant for
    :return: objects that JSON can hold
    """
    return [
        {
            "language": score.language,
            "listed": score.language in languages,
            "queries": score.queries,
            "pictures": report.pictures,
            **{f"recall@{cut}": round(score.recall[cut], 4) for cut in CUTS},
            "mrr": round(score.mean_reciprocal_rank, 4),
        }
        for score in report.scores
    ]


def as_markdown(report: RetrievalReport, languages: Sequence[str], *, heading: str, source: str) -> str:
    """A page with a table a language.

    :param report: what was measured
    :param languages: the codes that the model is meant for; others stand in a table of their own
    :param heading: the page's title
    :param source: how it was made: model, data, command
    :return: Markdown
    """
    others = [score for score in report.scores if score.language not in languages]
    parts = [f"# {heading}", source, summary_table(report, languages)]
    if len(others) < len(report.scores):
        parts += ["## Listed languages", language_table(report, languages)]
    if others:
        parts += ["## Other languages", _table(others)]
    return "\n\n".join(parts) + "\n"


def summary_table(report: RetrievalReport, languages: Sequence[str]) -> str:
    """The rows that matter most, as a table.

    :param report: what was measured
    :param languages: the codes that the model is meant for
    :return: a Markdown table
    """
    return _table(summary(report, languages))


def language_table(report: RetrievalReport, languages: Sequence[str]) -> str:
    """A row for each of some languages that has captions.

    :param report: what was measured
    :param languages: their codes
    :return: a Markdown table
    """
    return _table([score for score in report.scores if score.language in languages])


def _table(scores: Sequence[RetrievalScore]) -> str:
    """Rows of figures."""
    lines = ["| language | queries | " + " | ".join(f"R@{cut}" for cut in CUTS) + " | MRR |"]
    lines.append("|---|---:|" + "---:|" * (len(CUTS) + 1))
    for score in scores:
        known = BY_CODE.get(score.language)
        name = f"{score.language} {known.name}" if known else score.language
        figures = [*(score.recall[cut] for cut in CUTS), score.mean_reciprocal_rank]
        lines.append(f"| {name} | {score.queries} | " + " | ".join(f"{figure:.3f}" for figure in figures) + " |")
    return "\n".join(lines)
