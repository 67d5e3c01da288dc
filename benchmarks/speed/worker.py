"""The process of one engine: it opens a task, then runs a round whenever a line on its standard input says so.

Lines of JSON go both ways. In: what to open, then ``{"seconds": S}`` for every round. Out: ``{"rows", "flops", "note",
"versions"}`` or ``{"missing": why}``, then ``{"values", "busy"}`` or ``{"failed": why}`` for every round, where
``busy`` is how long the process kept cores busy. Between rounds it waits in a read, which costs the others nothing.
"""

import json
import os
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import TextIO

from babelclip.benchmark.machine import resident_mebibytes
from benchmarks.speed.adapters import open_work
from benchmarks.speed.engines import BY_ENGINE, BY_TASK
from benchmarks.speed.fixtures import Fixtures
from benchmarks.speed.work import Work

FEWEST_CALLS, LONGEST = 3, 3
"""A round has so many calls, unless they take so many times as long as it should."""
SETTLE_SECONDS = 0.2
"""Threads of the engine before may spin for a while after their last work."""
PACKAGES = ("sentence-transformers", "transformers", "optimum", "torch", "onnxruntime", "openvino", "nncf", "fastembed")
"""Whose versions a worker tells, where they are installed; open_clip tells its own."""


def main() -> None:
    """Open what the first line of the standard input names, then run rounds until it ends."""
    # What libraries print must not come between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    asked = json.loads(sys.stdin.readline())
    try:
        work = open_work(BY_ENGINE[asked["engine"]], asked["task"], Fixtures(Path(asked["fixtures"])))
    except Exception as error:
        _answer(answers, {"missing": _reason(error)})
        return
    _answer(answers, {"rows": work.rows, "flops": work.flops, "note": work.note, "versions": versions()})
    in_memory = BY_TASK[asked["task"]].quantity == "mebibytes"
    done = 0
    for line in sys.stdin:
        busy = time.process_time()
        try:
            values = round_of(work, json.loads(line)["seconds"], first=done)
        except Exception as error:
            _answer(answers, {"failed": _reason(error)})
            return
        done += len(values) + 1
        values = [resident_mebibytes(work.process)] if in_memory else values
        _answer(answers, {"values": values, "busy": time.process_time() - busy})


def round_of(work: Work, seconds: float, *, first: int = 0) -> list[float]:
    """Time calls for so long, after one that is not timed; making the inputs is not timed either.

    :param work: what to call
    :param seconds: go on until so many have passed
    :param first: the number of the first call, so that no round repeats the inputs of another
    :return: seconds of every call: at least FEWEST_CALLS, or one where that takes over LONGEST times as long
    """
    time.sleep(SETTLE_SECONDS)
    work.run(work.inputs(first))
    times: list[float] = []
    while sum(times) < seconds or (len(times) < FEWEST_CALLS and sum(times) < LONGEST * seconds) or not times:
        inputs = work.inputs(first + 1 + len(times))
        start = time.perf_counter()
        work.run(inputs)
        times.append(time.perf_counter() - start)
    return times


def versions() -> dict[str, str]:
    """The versions of the packages that matter, of those that are installed here.

    :return: version by name
    """
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _reason(error: Exception) -> str:
    """The first line of what an error says."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _answer(stream: TextIO, content: dict[str, object]) -> None:
    stream.write(json.dumps(content) + "\n")
    stream.flush()
