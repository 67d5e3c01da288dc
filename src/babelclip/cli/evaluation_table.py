"""Table of an evaluation on stdout."""

from collections.abc import Sequence

from babelclip.cli import output
from babelclip.evaluation.report import cells
from babelclip.evaluation.scores import LanguageScore, Report


def show_report(report: Report, summary: Sequence[LanguageScore]) -> None:
    """Print a table by language.

    :param report: the evaluation
    :param summary: the rows above those of the languages
    """
    names = [f"{name}#" for name in report.scores[0].figures]
    rows = [cells(score) for score in (*summary, *report.scores)]
    output.table(("language", "count#", *names), rows, title=f"{report.title}: {report.subject}")
