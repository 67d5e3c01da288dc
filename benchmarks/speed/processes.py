"""Rounds: every engine in a process of its own, one after another, again and again.

In one process the threads of one engine slow the next, and over minutes a machine changes its speed; so engines take
turns, and a ratio compares what was measured in the same round.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import babelclip
from babelclip.benchmark.machine import Watch
from babelclip.benchmark.rounds import quietest
from babelclip.pipeline import LogCallback
from benchmarks.speed.engines import EngineAdapter, Task
from benchmarks.speed.fixtures import Fixtures

_START = "import sys; sys.path.append(sys.argv[1]); from benchmarks.speed.worker import main; main()"
CODE = "code"
"""The folder that holds links to babelclip and to this package, for environments that have neither."""


@dataclass(frozen=True, slots=True)
class Samples:
    """What was measured of one engine in one task: for every round a value a call, in the task's quantity.

    ``rows`` is what a call does, ``flops`` its operations, where they are known; ``others`` is for every round what
    part of the machine other processes took, where that is known.
    """

    task: str
    engine: str
    rows: int
    rounds: tuple[tuple[float, ...], ...]
    flops: int | None = None
    note: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    others: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An engine that was not measured in a task, and why."""

    task: str
    engine: str
    why: str


class EngineFailed(Exception):
    """An engine cannot do its task; the message says why."""


@dataclass(frozen=True, slots=True)
class Round:
    """A value a call, and what part of the machine others took meanwhile, where the system says it."""

    values: tuple[float, ...]
    others: float | None


class EngineProcess:
    """A worker with one task of one engine open; ``opened`` is what it said of it."""

    def __init__(self, engine: EngineAdapter, task: Task, fixtures: Fixtures, python: str) -> None:
        """Start it and wait until it is ready.

        :param engine: the engine
        :param task: the task
        :param fixtures: what it works on
        :param python: the interpreter of an environment that has the engine's packages
        :raises EngineFailed: if it cannot be opened
        """
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the process)
        self._process = subprocess.Popen(
            [python, "-c", _START, str(_code(fixtures.root))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            encoding="utf-8",
        )
        try:
            self.opened = self._ask({"engine": engine.name, "task": task.name, "fixtures": str(fixtures.root)})
            if "missing" in self.opened:
                raise EngineFailed(self.opened["missing"])
        except BaseException:
            self.close()
            raise

    def round(self, seconds: float) -> "Round":
        """Run one round.

        :param seconds: for so long
        :return: what it gave
        :raises EngineFailed: if it fails
        """
        watch = Watch()
        answer = self._ask({"seconds": seconds})
        if "failed" in answer:
            raise EngineFailed(answer["failed"])
        return Round(tuple(answer["values"]), watch.others(answer["busy"]))

    def close(self) -> None:
        """End the process."""
        # One that has ended already does not read what is still on its way.
        with suppress(BrokenPipeError):
            self._pipe(self._process.stdin).close()
        self._process.wait()
        self._pipe(self._process.stdout).close()
        self._errors.close()

    def __enter__(self) -> "EngineProcess":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """Send a line and wait for the one that answers it."""
        try:
            stdin = self._pipe(self._process.stdin)
            stdin.write(json.dumps(question) + "\n")
            stdin.flush()
            line = self._pipe(self._process.stdout).readline()
        except BrokenPipeError:
            line = ""
        if not line:
            code = self._process.wait()
            self._errors.seek(0)
            said = self._errors.read().decode("utf-8", "replace").strip().splitlines()
            raise EngineFailed(f"its process ended with code {code}: {said[-1] if said else 'it said nothing'}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        if pipe is None:
            raise EngineFailed("its process has no pipe")
        return pipe


def _code(root: Path) -> Path:
    """Return a folder with babelclip and the benchmarks in it, to put last on the path of another environment."""
    folder = root / CODE
    folder.mkdir(exist_ok=True)
    for package in (Path(babelclip.__file__).parent, Path(__file__).parents[1]):
        link = folder / package.name
        if not link.exists():
            link.unlink(missing_ok=True)
            link.symlink_to(package, target_is_directory=True)
    return folder


class _Participant:
    """An engine's place at the table: it is opened at its first turn, and says why if it gets up."""

    def __init__(self, engine: EngineAdapter, task: Task, fixtures: Fixtures, python: str) -> None:
        self._place = engine, task, fixtures, python
        self._process: EngineProcess | None = None
        self._turns: list[Round] = []
        self._opened: dict[str, Any] = {}
        self.name = engine.name
        self.left: LeftOut | None = None

    def turn(self, seconds: float) -> None:
        """One round, unless the engine has left."""
        if self.left is not None:
            return
        try:
            if self._process is None:
                self._process = EngineProcess(*self._place)
                self._opened = self._process.opened
            process = self._process
            # Memory is the same however busy the machine is.
            timed = self._place[1].quantity == "seconds"
            self._turns.append(quietest(lambda: process.round(seconds)) if timed else process.round(seconds))
        except EngineFailed as error:
            self.left = LeftOut(self._place[1].name, self.name, str(error))
            self.close()

    def forget(self) -> None:
        """Let the rounds so far not count."""
        self._turns.clear()

    def close(self) -> None:
        """End its process, if it has one."""
        if self._process is not None:
            self._process.close()
        self._process = None

    def samples(self) -> Samples:
        """What was measured."""
        said = self._opened
        return Samples(
            self._place[1].name,
            self.name,
            said["rows"],
            tuple(turn.values for turn in self._turns),
            said["flops"],
            said["note"],
            said["versions"],
            tuple(turn.others for turn in self._turns if turn.others is not None),
        )


def run_rounds(
    task: Task,
    engines: Sequence[EngineAdapter],
    fixtures: Fixtures,
    *,
    rounds: int,
    seconds: float,
    pythons: Mapping[str, str],
    say: LogCallback,
) -> tuple[list[Samples], list[LeftOut]]:
    """Measure engines in a task, in processes that take turns.

    A process lives for all rounds. Where memory is measured every round has a new one, and a first one does not count:
    it may have to make what later ones find.

    :param task: the task
    :param engines: who does it
    :param fixtures: what they work on
    :param rounds: how often each has its turn
    :param seconds: how long a turn is
    :param pythons: interpreters of engines that have an environment of their own
    :param say: is told what is under way
    :return: what was measured, and who was left out
    """
    participants = [
        _Participant(engine, task, fixtures, pythons.get(engine.name, sys.executable)) for engine in engines
    ]
    anew = task.quantity == "mebibytes"
    try:
        for number in range(0 if anew else 1, rounds + 1):
            for participant in participants:
                say(f"{task.name}, round {number} of {rounds}: {participant.name}")
                participant.turn(seconds)
                if anew:
                    participant.close()
                if number == 0:
                    participant.forget()
    finally:
        for participant in participants:
            participant.close()
    left = [participant.left for participant in participants if participant.left is not None]
    return [participant.samples() for participant in participants if participant.left is None], left
