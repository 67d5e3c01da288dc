"""Speed of one model on this machine, for each runtime: texts, one query, images."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

import numpy as np
from PIL import Image

from babelclip.benchmark.machine import Watch
from babelclip.benchmark.rounds import Measurement, quietest, spread
from babelclip.benchmark.samples import SCRIPTS
from babelclip.errors import BabelclipError
from babelclip.models.model import Model
from babelclip.models.precision import Precision
from babelclip.pipeline import LogCallback

BATCH_TEXTS, BATCH_IMAGES = 128, 32
IMAGE_WIDTH, IMAGE_HEIGHT = 640, 480
"""Pixels of the images, which are decoded already."""
FEWEST_CALLS = 3
SEED = 0


@dataclass(frozen=True, slots=True)
class Task:
    """A call that is timed: its name, the items that a call encodes, and the call, which gets its number."""

    name: str
    items: int
    run: Callable[[int], object]


@dataclass(frozen=True, slots=True)
class SpeedRow:
    """Speed of one task on one runtime: items per second over rounds, and milliseconds of a call over all calls."""

    task: str
    runtime: str
    per_second: Measurement
    p50_ms: float
    p95_ms: float
    calls: int


@dataclass(frozen=True, slots=True)
class Round:
    """Seconds of each call, and the share of the machine that other processes took."""

    seconds: tuple[float, ...]
    others: float | None


def measure_speed(
    name: str,
    runtimes: Sequence[str],
    *,
    precision: Precision = "auto",
    rounds: int,
    seconds: float,
    say: LogCallback = lambda label: None,
    left_out: LogCallback = lambda reason: None,
) -> list[SpeedRow]:
    """Measure a model on several runtimes, in rounds of all runtimes.

    :param name: a model's name or folder
    :param runtimes: the runtimes to measure
    :param precision: the precision of the towers
    :param rounds: number of rounds
    :param seconds: duration of a task in a round, at least FEWEST_CALLS calls
    :param say: receives a label for each step
    :param left_out: receives why a runtime is left out
    :return: a row per task and runtime
    """
    tasks: dict[tuple[str, str], Task] = {}
    for runtime in runtimes:
        say(f"loading on {runtime}")
        try:
            tasks |= {(task.name, runtime): task for task in model_tasks(name, runtime, precision)}
        except BabelclipError as error:
            left_out(f"{runtime} was left out: {error}")
    measured: dict[tuple[str, str], list[Round]] = {key: [] for key in tasks}
    for number in range(1, rounds + 1):
        for (task_name, runtime), task in tasks.items():
            say(f"round {number} of {rounds}: {task_name}, {runtime}")
            measured[task_name, runtime].append(quietest(partial(one_round, task, seconds)))
    ordered = sorted(measured, key=lambda key: [task for task, _ in tasks].index(key[0]))
    return [_row(key, tasks[key], measured[key]) for key in ordered]


def model_tasks(name: str, runtime: str, precision: Precision) -> list[Task]:
    """Load a model and prepare its tasks; each has run once.

    :param name: a model's name or folder
    :param runtime: the runtime
    :param precision: the precision of the towers
    :return: the tasks of the towers that the model has
    :raises BabelclipError: if the runtime is not installed or the model cannot be used
    """
    model = Model.load(name, runtime=runtime, precision=precision)
    samples = list(SCRIPTS.values())
    noise = np.random.default_rng(SEED).integers(0, 256, (IMAGE_HEIGHT, IMAGE_WIDTH, 3), dtype=np.uint8)
    images = [Image.fromarray(np.roll(noise, shift, axis=1)) for shift in range(BATCH_IMAGES)]

    def texts(first: int, count: int) -> list[str]:
        # Texts differ from call to call, so that no cache answers.
        return [f"{samples[i % len(samples)]} {i}" for i in range(first, first + count)]

    tasks = [
        Task(
            f"texts, batches of {BATCH_TEXTS}",
            BATCH_TEXTS,
            lambda call: model.encode_text(texts(call * BATCH_TEXTS, BATCH_TEXTS)),
        ),
        Task("one query", 1, lambda call: model.encode_text(texts(call, 1))),
    ]
    if model.image_spec is not None:
        tasks.append(Task(f"images, batches of {BATCH_IMAGES}", BATCH_IMAGES, lambda call: model.encode_images(images)))
    for task in tasks:
        task.run(0)
    return tasks


def one_round(task: Task, seconds: float) -> Round:
    """Time the calls of one round.

    :param task: the task
    :param seconds: duration, at least FEWEST_CALLS calls
    :return: the round
    """
    watch, busy = Watch(), time.process_time()
    calls: list[float] = []
    while sum(calls) < seconds or len(calls) < FEWEST_CALLS:
        start = time.perf_counter()
        task.run(1 + len(calls))
        calls.append(time.perf_counter() - start)
    return Round(tuple(calls), watch.others(time.process_time() - busy))


def _row(key: tuple[str, str], task: Task, rounds: Sequence[Round]) -> SpeedRow:
    """Summarize the rounds of a task."""
    calls = [value for part in rounds for value in part.seconds]
    p50, p95 = (1000 * float(value) for value in np.percentile(calls, (50, 95)))
    per_second = spread(task.items / median(part.seconds) for part in rounds)
    return SpeedRow(*key, per_second, p50, p95, len(calls))
