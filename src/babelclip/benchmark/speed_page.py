"""A speed report as a Markdown page and a plot."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from babelclip.benchmark.engines import BARS, BY_ENGINE, BY_TASK, TASKS, Bar, Task
from babelclip.benchmark.figures import Row, SpeedReport, Spread
from babelclip.benchmark.machine import machine_lines
from babelclip.benchmark.rounds import MOST_OTHERS, MOST_REPEATS
from babelclip.errors import MissingDependencyError

MILLISECONDS = 1000.0
NOT_MEASURED = "not measured"
_INCHES_A_ROW = 0.17
_COLOURS = {
    "babelclip": "C0",
    "sentence-transformers": "C1",
    "fastembed": "C2",
    "open_clip": "C4",
    "product": "0.6",
}


def title_of(task: Task, report: SpeedReport) -> str:
    """A task's heading with its numbers in it.

    :param task: the task
    :param report: whose counts
    :return: the heading
    """
    return task.title.format(**asdict(report.counts), megapixels=report.counts.megapixels)


def columns(task: Task) -> tuple[str, ...]:
    """The headings of a task's table; those that end in "#" are of numbers.

    :param task: the task
    :return: the headings
    """
    if task.quantity == "mebibytes":
        return ("engine", "MiB#", "lowest to highest#", "of the baseline#", "bar#", "met")
    counted = ("GFLOP/s#", "of the matrix product#") if task.counted else ()
    return (
        "engine",
        f"{task.unit}/s#",
        "ms a call#",
        "lowest to highest#",
        "p50 / p95 / p99 ms#",
        "times as fast#",
        *counted,
        "bar#",
        "met",
    )


def cells(task: Task, row: Row) -> tuple[str, ...]:
    """A row under those headings.

    :param task: the task
    :param row: the row
    :return: texts
    """
    scale = 1.0 if task.quantity == "mebibytes" else MILLISECONDS
    middle = number(row.value.median * scale)
    around = f"{number(row.value.low * scale)} to {number(row.value.high * scale)}"
    ratio = ends(row.ratio)
    bar = (bar_words(row.bar) if row.bar else "", "" if row.met is None else "yes" if row.met else "NO")
    if task.quantity == "mebibytes":
        return (row.engine, middle, around, ratio, *bar)
    tails = " / ".join(number((value or 0.0) * MILLISECONDS) for value in (row.p50, row.p95, row.p99))
    rate = "" if BY_ENGINE[row.engine].family == "product" else number(row.per_second or 0.0)
    counted: tuple[str, ...] = ()
    if task.counted:
        counted = (ends(row.gflops), ends(row.share, percent=True))
    return (row.engine, rate, middle, around, tails, ratio, *counted, *bar)


def bar_words(bar: Bar) -> str:
    """A bar in words.

    :param bar: the bar
    :return: such as ">= 8 times"
    """
    side = ">=" if bar.at_least else "<="
    if bar.figure == "share":
        return f"{side} {bar.limit:.0%} of the matrix product"
    if bar.figure == "ratio":
        return f"{side} {bar.limit:g} times"
    return f"{side} {bar.limit:g} {'MiB' if BY_TASK[bar.task].quantity == 'mebibytes' else 's'}"


def bar_rows(report: SpeedReport) -> list[tuple[str, ...]]:
    """Every bar beside what was reached.

    :param report: the report
    :return: task, engine, bar, reached with its spread, met; "not measured" where it was not
    """
    found = {(row.task, row.engine): row for row in report.rows}
    lines: list[tuple[str, ...]] = []
    for bar in BARS:
        row = found.get((bar.task, bar.engine))
        figure = None if row is None else {"ratio": row.ratio, "share": row.share, "median": row.value}[bar.figure]
        reached = NOT_MEASURED if figure is None else ends(figure, percent=bar.figure == "share")
        met = "" if row is None or row.met is None else "yes" if row.met else "NO"
        lines.append((BY_TASK[bar.task].name, bar.engine, bar_words(bar), reached, met))
    return lines


def as_markdown(report: SpeedReport, *, source: str, plot: str | None) -> str:
    """The page.

    :param report: what was measured
    :param source: how it was made
    :param plot: the file name of the plot beside the page, where there is one
    :return: Markdown
    """
    parts = [
        "# Speed beside others",
        source,
        *machine_lines(report.machine),
        *_quiet(report),
        "## Bars",
        table(("task", "engine", "bar#", "reached (lowest to highest)#", "met"), bar_rows(report)),
    ]
    if plot is not None:
        parts.append(f"![Times as fast as the baseline, and the part of the matrix product reached]({plot})")
    for task in TASKS:
        rows = [row for row in report.rows if row.task == task.name]
        if rows:
            lines = table(columns(task), [cells(task, row) for row in rows])
            parts += [f"## {title_of(task, report)}", lines, *_notes(rows, report)]
    if report.left_out:
        parts += [
            "## Left out",
            table(("task", "engine", "why"), [(x.task, x.engine, x.why) for x in report.left_out]),
        ]
    return "\n\n".join(parts) + "\n"


def _quiet(report: SpeedReport) -> list[str]:
    """How much other processes took of the machine meanwhile."""
    known = [row for row in report.rows if row.others and BY_TASK[row.task].quantity == "seconds"]
    if not known:
        return []
    middle = sorted(row.others.median for row in known if row.others)[len(known) // 2]
    most = max(known, key=lambda row: row.others.high if row.others else 0.0)
    highest = most.others.high if most.others else 0.0
    return [
        f"While it was measured, other processes took {middle:.1%} of the machine, and {highest:.0%} in the worst turn "
        f"({most.task}, {most.engine}); turns over {MOST_OTHERS:.0%} were repeated, up to {MOST_REPEATS} times."
    ]


def _notes(rows: Sequence[Row], report: SpeedReport) -> list[str]:
    """What must be known of rows: their notes, and versions other than the machine's."""
    lines = []
    for row in rows:
        known = report.machine.versions
        others = [f"{name} {own}" for name, own in row.versions.items() if known.get(name, own) != own]
        said = "; ".join(part for part in (row.note, "with " + ", ".join(others) if others else "") if part)
        if said:
            lines.append(f"- {row.engine}: {said}.")
    return ["\n".join(lines)] if lines else []


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


def ends(value: Spread | None, *, percent: bool = False) -> str:
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


def draw(report: SpeedReport, path: Path) -> None:
    """Two columns of bars: times as fast as the baseline, and operations a second under the matrix product's.

    :param report: what was measured
    :param path: the PNG file to write
    :raises MissingDependencyError: if matplotlib is not installed
    """
    require_plots()
    from matplotlib.figure import Figure

    ratios = [row for row in report.rows if row.ratio is not None and BY_TASK[row.task].quantity == "seconds"]
    counted = [row for row in report.rows if row.gflops is not None]
    height = 1.2 + _INCHES_A_ROW * max(len(ratios) + 2 * len({row.task for row in ratios}), len(counted) + 4)
    figure = Figure(figsize=(11, height), layout="constrained")
    left, right = figure.subplots(1, 2)
    _bars(left, ratios, [(row.ratio, row.bar) for row in ratios])
    left.set_xscale("log")
    left.axvline(1, color="0.4", linewidth=0.8)
    left.set_xlabel(f"times as fast as {report.baseline} (black: the bar)")
    _bars(right, counted, [(row.gflops, None) for row in counted])
    right.set_xlabel("GFLOP/s; grey: a large matrix product of the same engine and precision")
    figure.savefig(path, dpi=90)


def _bars(axes: object, rows: Sequence[Row], figures: Sequence[tuple[Spread | None, Bar | None]]) -> None:
    """A bar a row with its ends, tasks apart from each other, the first on top."""
    from matplotlib.axes import Axes

    if not isinstance(axes, Axes):
        raise TypeError("axes of matplotlib are wanted")
    place, places, before = 0.0, [], None
    for row in rows:
        place -= 2.0 if before not in (None, row.task) else 1.0
        places.append(place)
        if before != row.task:
            axes.text(0.995, place + 0.6, row.task, ha="right", va="bottom", transform=axes.get_yaxis_transform())
        before = row.task
    for at, row, (value, bar) in zip(places, rows, figures, strict=True):
        if value is None:
            continue
        errors = [[value.median - value.low], [value.high - value.median]]
        colour = _COLOURS[BY_ENGINE[row.engine].family]
        axes.barh(at, value.median, color=colour, xerr=errors, error_kw={"elinewidth": 0.8, "ecolor": "0.2"})
        if bar is not None and bar.figure == "ratio":
            axes.plot([bar.limit, bar.limit], [at - 0.5, at + 0.5], color="black", linewidth=2)
    axes.set_yticks(places, [row.engine for row in rows], fontsize=7)
    axes.grid(axis="x", alpha=0.3)


def require_plots() -> None:
    """Say at once that plots cannot be drawn, before anything is measured.

    :raises MissingDependencyError: if matplotlib is not installed
    """
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        raise MissingDependencyError("matplotlib", extra="evaluate") from None
