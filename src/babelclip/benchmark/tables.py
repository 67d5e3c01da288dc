"""Tables and numbers of benchmark reports, in Markdown."""

from collections.abc import Sequence

from babelclip.benchmark.rounds import Measurement


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown.

    :param headings: those that end in "#" are of numbers
    :param rows: texts
    :return: its lines
    """
    lines = ["| " + " | ".join(heading.rstrip("#") for heading in headings) + " |"]
    lines.append("|" + "|".join("---:" if heading.endswith("#") else "---" for heading in headings) + "|")
    lines += ["| " + " | ".join(cell.replace("|", "/") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def number(value: float) -> str:
    """A number for people.

    :param value: the number
    :return: three figures of it, or all before the point
    """
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def ends(value: Measurement | None, *, percent: bool = False) -> str:
    """A median and its ends.

    :param value: the three, or None
    :param percent: of parts
    :return: such as "8.1 (7.9 to 8.3)"; "" of None
    """
    if value is None:
        return ""
    if percent:
        return f"{value.median:.0%} ({value.low:.0%} to {value.high:.0%})"
    return f"{number(value.median)} ({number(value.low)} to {number(value.high)})"
