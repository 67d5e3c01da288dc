"""From what was measured to what is said of it: medians, spread, ratios, operations a second, bars."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any

import numpy as np

from babelclip.benchmark.machine import Machine
from babelclip.benchmark.rounds import Measurement, spread
from benchmarks.speed.engines import BY_ENGINE, BY_TASK, EngineAdapter, Threshold, bar_of
from benchmarks.speed.fixtures import Counts
from benchmarks.speed.processes import LeftOut, Samples


@dataclass(frozen=True, slots=True)
class BenchmarkRow:
    """One engine in one task. ``value`` is of a call, in the task's quantity (seconds or MiB).

    ``p50``, ``p95`` and ``p99`` are seconds over all calls. ``ratio`` is how many times as fast as the baseline a row
    of the batch is (of memory: what part of the baseline's it takes), round by round. ``gflops`` are operations a
    second in 1e9, ``share`` their part of the matrix product's, round by round. ``others`` is what part of the machine
    other processes took. What has no meaning, or is not known, is None.
    """

    task: str
    engine: str
    rows: int
    rounds: int
    calls: int
    value: Measurement
    p50: float | None
    p95: float | None
    p99: float | None
    per_second: float | None
    ratio: Measurement | None
    gflops: Measurement | None
    share: Measurement | None
    bar: Threshold | None
    met: bool | None
    others: Measurement | None
    note: str
    versions: dict[str, str]


@dataclass(frozen=True, slots=True)
class SpeedReport:
    """Everything of one run: where, what, against whom."""

    machine: Machine
    counts: Counts
    baseline: str
    rows: tuple[BenchmarkRow, ...]
    left_out: tuple[LeftOut, ...]


def rows_of(samples: Sequence[Samples], *, baseline: str, flops: Mapping[str, int], judged: bool) -> list[BenchmarkRow]:
    """The rows of one task, each against what was measured beside it in the same rounds.

    :param samples: all engines of the task
    :param baseline: the name of the engine that ratios are against
    :param flops: operations of a call by task
    :param judged: whether the bars are for these sizes
    :return: a row an engine
    """
    by_name = {own.engine: own for own in samples}
    return [_row(own, by_name, baseline, flops, judged=judged) for own in samples]


def _row(
    own: Samples, by_name: Mapping[str, Samples], baseline: str, flops: Mapping[str, int], *, judged: bool
) -> BenchmarkRow:
    """One engine's row."""
    task, engine = BY_TASK[own.task], BY_ENGINE[own.engine]
    medians = [median(values) for values in own.rounds]
    calls = [value for values in own.rounds for value in values]
    seconds = task.quantity == "seconds"
    p50, p95, p99 = (float(x) for x in np.percentile(calls, (50, 95, 99))) if seconds else (None, None, None)
    speeds = _operations(own, flops) if seconds and (engine.same_weights or engine.family == "product") else None
    other = by_name.get(baseline)
    bar = bar_of(own.task, own.engine) if judged else None
    value, ratio = spread(medians), _ratio(own, other, engine) if other else None
    share = _share(speeds, by_name.get(engine.ceiling), flops) if speeds and engine.family != "product" else None
    reached = {"ratio": ratio, "share": share, "median": value}[bar.figure] if bar else None
    return BenchmarkRow(
        task=own.task,
        engine=own.engine,
        rows=own.rows,
        rounds=len(own.rounds),
        calls=len(calls),
        value=value,
        p50=p50,
        p95=p95,
        p99=p99,
        per_second=own.rows / value.median if seconds else None,
        ratio=ratio,
        gflops=spread(speeds) if speeds else None,
        share=share,
        bar=bar,
        met=bar.met(reached.median) if bar and reached else None,
        others=spread(own.others) if own.others else None,
        note=own.note,
        versions=dict(own.versions),
    )


def _ratio(own: Samples, other: Samples, engine: EngineAdapter) -> Measurement | None:
    """Against the baseline, each round against the same round; None for another model and for products."""
    if not engine.same_weights or engine.family == "product":
        return None
    rounds = zip(own.rounds, other.rounds, strict=True)
    ratios = [(median(theirs) / other.rows) / (median(mine) / own.rows) for mine, theirs in rounds]
    if BY_TASK[own.task].quantity == "mebibytes":
        ratios = [1 / ratio for ratio in ratios]
    return spread(ratios)


def _operations(own: Samples, flops: Mapping[str, int]) -> list[float] | None:
    """1e9 operations a second, round by round, where they are counted."""
    count = own.flops or flops.get(own.task)
    return [count / median(values) / 1e9 for values in own.rounds] if count else None


def _share(speeds: Sequence[float], ceiling: Samples | None, flops: Mapping[str, int]) -> Measurement | None:
    """The part of the matrix product's speed, each round against the same round."""
    top = _operations(ceiling, flops) if ceiling else None
    return spread(a / b for a, b in zip(speeds, top, strict=True)) if top else None


def joined(reports: Sequence[SpeedReport]) -> SpeedReport:
    """The reports of the tasks of one run as one.

    :param reports: one or more
    :return: everything in them
    """
    rows = tuple(row for report in reports for row in report.rows)
    return replace(reports[0], rows=rows, left_out=tuple(left for report in reports for left in report.left_out))


def as_lines(report: SpeedReport) -> list[dict[str, Any]]:
    """A report as objects that JSON can hold, each of a ``kind``: run, row, left out.

    :param report: the report
    :return: one object a line
    """
    run = {"machine": asdict(report.machine), "counts": asdict(report.counts), "baseline": report.baseline}
    rows = [{"kind": "row", **asdict(row)} for row in report.rows]
    return [{"kind": "run", **run}, *rows, *({"kind": "left out", **asdict(left)} for left in report.left_out)]


def from_lines(lines: Sequence[Mapping[str, Any]]) -> SpeedReport:
    """The report of lines that as_lines gave; those of several runs make one, where a task counts as last measured.

    :param lines: the objects, in order
    :return: the report
    :raises KeyError: if a line is not one of as_lines
    """
    runs = [line for line in lines if line["kind"] == "run"]
    machine = {**runs[-1]["machine"], "flags": tuple(runs[-1]["machine"]["flags"])}
    number = 0
    rows: dict[str, tuple[int, list[BenchmarkRow]]] = {}
    left: dict[str, tuple[int, list[LeftOut]]] = {}
    for line in lines:
        values = {key: value for key, value in line.items() if key != "kind"}
        if line["kind"] == "run":
            number += 1
        elif line["kind"] == "row":
            _newest(rows, number, values["task"]).append(_row_from(values))
        else:
            _newest(left, number, values["task"]).append(LeftOut(**values))
    return SpeedReport(
        Machine(**machine),
        Counts(**runs[-1]["counts"]),
        runs[-1]["baseline"],
        tuple(row for task in BY_TASK for row in rows.get(task, (0, []))[1]),
        tuple(one for task in BY_TASK for one in left.get(task, (0, []))[1]),
    )


def _newest(by_task: dict[str, tuple[int, list[Any]]], number: int, task: str) -> list[Any]:
    """The list of a task in the run of that number; an older run's is dropped."""
    if by_task.get(task, (0, []))[0] != number:
        by_task[task] = number, []
    return by_task[task][1]


def _row_from(values: Mapping[str, Any]) -> BenchmarkRow:
    """A row from what asdict made of it."""
    spreads = {
        key: values[key] and Measurement(**values[key]) for key in ("value", "ratio", "gflops", "share", "others")
    }
    return BenchmarkRow(**{**values, **spreads, "bar": values["bar"] and Threshold(**values["bar"])})
