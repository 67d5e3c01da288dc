"""A speed report as a plot."""

from collections.abc import Sequence
from pathlib import Path

from babelclip.benchmark.rounds import Measurement
from babelclip.extras import importing
from benchmarks.speed.engines import BY_ENGINE, BY_TASK, Threshold
from benchmarks.speed.report import BenchmarkRow, SpeedReport

_INCHES_A_ROW = 0.2
_COLOURS = {
    "babelclip": "C0",
    "sentence-transformers": "C1",
    "fastembed": "C2",
    "nncf": "C3",
    "open_clip": "C4",
    "product": "0.6",
}


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
    height = 1.2 + _INCHES_A_ROW * max(_places(ratios), _places(counted))
    figure = Figure(figsize=(12, height), layout="constrained")
    left, right = figure.subplots(1, 2)
    _bars(left, ratios, [(row.ratio, row.bar) for row in ratios], "×")
    left.set_title(f"Times as fast as {report.baseline}", fontsize=10)
    left.set_xlabel("a black line is the bar", fontsize=8)
    _bars(right, counted, [(row.gflops, None) for row in counted], "")
    right.set_title("Thousand million operations a second", fontsize=10)
    right.set_xlabel("grey: a large matrix product of the same engine and precision", fontsize=8)
    figure.savefig(path, dpi=90)


def _places(rows: Sequence[BenchmarkRow]) -> int:
    """How many lines rows take, tasks apart."""
    return len(rows) + len({row.task for row in rows})


def _bars(
    axes: object,
    rows: Sequence[BenchmarkRow],
    figures: Sequence[tuple[Measurement | None, Threshold | None]],
    unit: str,
) -> None:
    """A bar a row with its ends and its number, tasks apart from each other under their names, the first on top."""
    from matplotlib.axes import Axes

    if not isinstance(axes, Axes):
        raise TypeError("axes of matplotlib are wanted")
    place, labels, before = 1.0, {}, None
    widest = max((value.high for value, _ in figures if value is not None), default=1.0)
    widest = max([widest, *(bar.limit for _, bar in figures if bar is not None and bar.figure == "ratio")])
    for row, (value, bar) in zip(rows, figures, strict=True):
        if before != row.task:
            place -= 1.0
            labels[place] = row.task
        place -= 1.0
        labels[place], before = row.engine, row.task
        if value is None:
            continue
        ends = [[value.median - value.low], [value.high - value.median]]
        colour = _COLOURS[BY_ENGINE[row.engine].family]
        axes.barh(place, value.median, color=colour, xerr=ends, error_kw={"elinewidth": 0.8, "ecolor": "0.2"})
        number = f"{value.median:,.0f}{unit}" if value.median >= 100 else f"{value.median:.3g}{unit}"
        axes.text(value.high + 0.01 * widest, place, number, va="center", fontsize=7)
        if bar is not None and bar.figure == "ratio":
            axes.plot([bar.limit, bar.limit], [place - 0.5, place + 0.5], color="black", linewidth=2)
    for label, name in zip(axes.set_yticks(list(labels), list(labels.values())), labels.values(), strict=True):
        task = name in BY_TASK
        label.label1.set(fontsize=8 if task else 7, fontweight="bold" if task else "normal")
        label.tick1line.set_visible(not task)
    axes.tick_params(axis="x", labelsize=8)
    axes.set_xlim(0, 1.12 * widest)
    axes.set_ylim(place - 1, 1)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)


def require_plots() -> None:
    """LogCallback at once that plots cannot be drawn, before anything is measured.

    :raises MissingDependencyError: if matplotlib is not installed
    """
    with importing("evaluate"):
        import matplotlib  # noqa: F401
