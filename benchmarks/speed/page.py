"""A speed report as tables and as a Markdown page: a summary first, then a table a task."""

from collections.abc import Sequence
from dataclasses import asdict

from babelclip.benchmark.machine import machine_lines
from babelclip.benchmark.rounds import MOST_OTHERS, MOST_REPEATS
from babelclip.benchmark.tables import ends, number, table
from benchmarks.speed.engines import BY_ENGINE, BY_TASK, TASKS, THRESHOLDS, Task, Threshold
from benchmarks.speed.report import BenchmarkRow, SpeedReport

MILLISECONDS = 1000.0
NOT_MEASURED = "not measured"
SUMMARY = ("task", "engine", "reached#", "baseline#", "fastest other library#", "ratio or part#", "threshold#", "met")
"""Headings of summary_rows; those that end in "#" are of numbers."""
LIBRARIES = ("sentence-transformers", "fastembed", "open_clip")


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
        return ("engine", "MiB#", "lowest to highest#", "of the baseline#")
    counted = ("GFLOP/s#", "of the matrix product#") if task.counted else ()
    return (
        "engine",
        f"{task.unit}/s#",
        "ms a call#",
        "lowest to highest#",
        "p50 / p95 / p99 ms#",
        "times as fast#",
        *counted,
    )


def cells(task: Task, row: BenchmarkRow) -> tuple[str, ...]:
    """A row under those headings.

    :param task: the task
    :param row: the row
    :return: texts
    """
    scale = 1.0 if task.quantity == "mebibytes" else MILLISECONDS
    middle = number(row.value.median * scale)
    around = f"{number(row.value.low * scale)} to {number(row.value.high * scale)}"
    ratio = ends(row.ratio)
    if task.quantity == "mebibytes":
        return (row.engine, middle, around, ratio)
    tails = " / ".join(number((value or 0.0) * MILLISECONDS) for value in (row.p50, row.p95, row.p99))
    rate = "" if BY_ENGINE[row.engine].family == "product" else number(row.per_second or 0.0)
    counted: tuple[str, ...] = ()
    if task.counted:
        counted = (ends(row.gflops), ends(row.share, percent=True))
    return (row.engine, rate, middle, around, tails, ratio, *counted)


def bar_words(bar: Threshold) -> str:
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


def summary_rows(report: SpeedReport) -> list[tuple[str, ...]]:
    """Every bar beside what was reached, by the engine, by the baseline, and by the fastest other library.

    :param report: the report
    :return: texts under SUMMARY; "not measured" where it was not
    """
    found = {(row.task, row.engine): row for row in report.rows}
    lines: list[tuple[str, ...]] = []
    for bar in THRESHOLDS:
        row, baseline = found.get((bar.task, bar.engine)), found.get((bar.task, report.baseline))
        if row is None:
            lines.append((bar.task, bar.engine, NOT_MEASURED, "", "", "", bar_words(bar), ""))
            continue
        other = _fastest_other(bar.task, report)
        figure = {"ratio": row.ratio, "share": row.share, "median": None}[bar.figure]
        reached = ends(figure or row.ratio, percent=figure is not None and bar.figure == "share")
        met = "" if row.met is None else "yes" if row.met else "NO"
        theirs = _amount(baseline) if baseline else ""
        lines.append((bar.task, bar.engine, _amount(row), theirs, other, reached, bar_words(bar), met))
    return lines


def _fastest_other(task: str, report: SpeedReport) -> str:
    """What the fastest of the other libraries reaches, save the baseline."""
    others = [
        row
        for row in report.rows
        if row.task == task and row.engine != report.baseline and BY_ENGINE[row.engine].family in LIBRARIES
    ]
    best = min(others, key=lambda row: row.value.median / row.rows, default=None)
    return "" if best is None else f"{_amount(best)} ({best.engine})"


def _amount(row: BenchmarkRow) -> str:
    """What a row says in the unit that its task is thought of in."""
    task = BY_TASK[row.task]
    if task.quantity == "mebibytes":
        return f"{number(row.value.median)} MiB"
    if row.rows > 1 and row.per_second is not None:
        return f"{number(row.per_second)} {task.unit}/s"
    if row.value.median < 1:
        return f"{number(row.value.median * MILLISECONDS)} ms"
    return f"{number(row.value.median)} s"


def as_markdown(report: SpeedReport, *, source: str, plot: str | None) -> str:
    """The page.

    :param report: what was measured
    :param source: how it was made
    :param plot: the file name of the plot beside the page, where there is one
    :return: Markdown
    """
    machine, versions = machine_lines(report.machine)
    parts = [
        "# Speed",
        machine,
        "## Summary",
        table((*SUMMARY[:3], report.baseline + "#", *SUMMARY[4:]), summary_rows(report)),
    ]
    if plot is not None:
        parts.append(f"![Times as fast as the baseline, and the part of the matrix product reached]({plot})")
    for task in TASKS:
        rows = [row for row in report.rows if row.task == task.name]
        if rows:
            lines = table(columns(task), [cells(task, row) for row in rows])
            parts += [f"## {title_of(task, report)}", lines, *_notes(rows, report)]
    parts += ["## Method", source, versions, *_quiet(report)]
    if report.left_out:
        parts += [
            "## Not measured",
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
        f"During the measurement other processes used {middle:.1%} of the machine, and {highest:.0%} in the worst "
        f"round ({most.task}, {most.engine}); rounds over {MOST_OTHERS:.0%} were repeated, up to {MOST_REPEATS} times."
    ]


def _notes(rows: Sequence[BenchmarkRow], report: SpeedReport) -> list[str]:
    """What must be known of rows: their notes, and versions other than the machine's."""
    lines = []
    for row in rows:
        known = report.machine.versions
        others = [f"{name} {own}" for name, own in row.versions.items() if known.get(name, own) != own]
        said = "; ".join(part for part in (row.note, "with " + ", ".join(others) if others else "") if part)
        if said:
            lines.append(f"- {row.engine}: {said}.")
    return ["\n".join(lines)] if lines else []
