"""Speed: every engine in every task, in turn, beside the baseline."""

from collections.abc import Mapping, Sequence

from babelclip.benchmark.machine import this_machine
from babelclip.pipeline import LogCallback
from benchmarks.speed.cold_starts import run_cold_starts
from benchmarks.speed.engines import IMPORTING, IMPORTING_MODEL, MINI, SERVING_MINI, EngineAdapter, Task
from benchmarks.speed.fixtures import REAL, Fixtures
from benchmarks.speed.processes import run_rounds
from benchmarks.speed.report import SpeedReport, rows_of

OPERATIONS = 2
"""A multiply-add is two."""
_WITHOUT_MODELS = (MINI, SERVING_MINI, IMPORTING, IMPORTING_MODEL)


def needs_models(tasks: Sequence[Task], engines: Sequence[EngineAdapter]) -> bool:
    """Whether models must be made: the shipped one and matrix products need none.

    :param tasks: what is measured
    :param engines: of whom
    :return: whether any of them reads the made pair
    """
    return any(
        engine.family != "product" and engine.name not in _WITHOUT_MODELS
        for task in tasks
        for engine in engines
        if task.name in engine.tasks
    )


def measure_speed(
    fixtures: Fixtures,
    task: Task,
    engines: Sequence[EngineAdapter],
    *,
    baseline: str,
    rounds: int,
    seconds: float,
    pythons: Mapping[str, str],
    say: LogCallback,
) -> SpeedReport:
    """Measure a task, engine by engine and round by round.

    :param fixtures: what making made
    :param task: what
    :param engines: of whom; those that do not do the task are passed over
    :param baseline: the engine that ratios are against
    :param rounds: how often each has its turn
    :param seconds: how long a turn is
    :param pythons: interpreters of engines that have an environment of their own
    :param say: is told what is under way
    :return: the report
    """
    counts = fixtures.counts
    adds = fixtures.facts.get("multiply_adds", {})
    flops = {name: OPERATIONS * count for name, count in adds.items()}
    able = [engine for engine in engines if task.name in engine.tasks]
    if task.name == "start":
        samples, left = run_cold_starts(able, fixtures, rounds=rounds, photos=counts.photos, pythons=pythons, say=say)
    else:
        samples, left = run_rounds(task, able, fixtures, rounds=rounds, seconds=seconds, pythons=pythons, say=say)
    rows = rows_of(samples, baseline=baseline, flops=flops, judged=counts == REAL)
    return SpeedReport(this_machine(), counts, baseline, tuple(rows), tuple(left))
