"""Rounds: every engine in a process of its own, one after another, again and again.

In one process the threads of one engine slow the next, and over minutes a machine changes its speed; so engines take
turns, and a ratio compares what was measured in the same round.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol, TypeVar

import babelclip
from babelclip.benchmark.engines import Engine, Task
from babelclip.benchmark.machine import Watch
from babelclip.benchmark.materials import Materials

_START = "import sys; sys.path.append(sys.argv[1]); from babelclip.benchmark.worker import main; main()"
MOST_OTHERS = 0.1
"""A turn in which other processes took more of the machine than this is repeated."""
MOST_REPEATS = 3
CODE = "code"
"""The folder that holds babelclip alone, for environments that do not have it."""

Say = Callable[[str], None]


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
class Turn:
    """A value a call, and what part of the machine others took meanwhile, where the system says it."""

    values: tuple[float, ...]
    others: float | None


class Disturbed(Protocol):
    """Something that was measured, and what part of the machine others took meanwhile, where the system says it."""

    @property
    def others(self) -> float | None:
        """0 to 1."""
        ...


Measured = TypeVar("Measured", bound=Disturbed)


def quietest(turn: Callable[[], Measured]) -> Measured:
    """A turn, repeated while others disturb it: what counts is how busy they were, never what was measured.

    :param turn: takes one
    :return: the first that was quiet, or else the quietest of 1 + MOST_REPEATS
    """
    taken: list[Measured] = []
    while not taken or ((taken[-1].others or 0.0) > MOST_OTHERS and len(taken) <= MOST_REPEATS):
        taken.append(turn())
    return min(taken, key=lambda own: own.others or 0.0)


class EngineProcess:
    """A worker with one task of one engine open; ``opened`` is what it said of it."""

    def __init__(self, engine: Engine, task: Task, materials: Materials, python: str) -> None:
        """Start it and wait until it is ready.

        :param engine: the engine
        :param task: the task
        :param materials: what it works on
        :param python: the interpreter of an environment that has the engine's packages
        :raises EngineFailed: if it cannot be opened
        """
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the process)
        self._process = subprocess.Popen(
            [python, "-c", _START, str(_code(materials.root))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            encoding="utf-8",
        )
        try:
            self.opened = self._ask({"engine": engine.name, "task": task.name, "materials": str(materials.root)})
            if "missing" in self.opened:
                raise EngineFailed(self.opened["missing"])
        except BaseException:
            self.close()
            raise

    def round(self, seconds: float) -> "Turn":
        """Run one round.

        :param seconds: for so long
        :return: what it gave
        :raises EngineFailed: if it fails
        """
        watch = Watch()
        answer = self._ask({"seconds": seconds})
        if "failed" in answer:
            raise EngineFailed(answer["failed"])
        return Turn(tuple(answer["values"]), watch.others(answer["busy"]))

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
    """A folder with babelclip alone in it, to put last on the path of another environment."""
    folder = root / CODE
    folder.mkdir(exist_ok=True)
    link, package = folder / "babelclip", Path(babelclip.__file__).parent
    if not link.exists():
        link.unlink(missing_ok=True)
        link.symlink_to(package, target_is_directory=True)
    return folder


class _Seat:
    """An engine's place at the table: it is opened at its first turn, and says why if it gets up."""

    def __init__(self, engine: Engine, task: Task, materials: Materials, python: str) -> None:
        self._place = engine, task, materials, python
        self._process: EngineProcess | None = None
        self._turns: list[Turn] = []
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


def take_turns(
    task: Task,
    engines: Sequence[Engine],
    materials: Materials,
    *,
    rounds: int,
    seconds: float,
    pythons: Mapping[str, str],
    say: Say,
) -> tuple[list[Samples], list[LeftOut]]:
    """Measure engines in a task, in processes that take turns.

    A process lives for all rounds. Where memory is measured every round has a new one, and a first one does not count:
    it may have to make what later ones find.

    :param task: the task
    :param engines: who does it
    :param materials: what they work on
    :param rounds: how often each has its turn
    :param seconds: how long a turn is
    :param pythons: interpreters of engines that have an environment of their own
    :param say: is told what is under way
    :return: what was measured, and who was left out
    """
    seats = [_Seat(engine, task, materials, pythons.get(engine.name, sys.executable)) for engine in engines]
    anew = task.quantity == "mebibytes"
    try:
        for number in range(0 if anew else 1, rounds + 1):
            for seat in seats:
                say(f"{task.name}, round {number} of {rounds}: {seat.name}")
                seat.turn(seconds)
                if anew:
                    seat.close()
                if number == 0:
                    seat.forget()
    finally:
        for seat in seats:
            seat.close()
    left = [seat.left for seat in seats if seat.left is not None]
    return [seat.samples() for seat in seats if seat.left is None], left
