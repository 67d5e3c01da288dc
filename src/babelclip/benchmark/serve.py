"""Load test of the service, against the model alone and optionally another server with the same weights.

All run for the whole time and are measured in rounds; ratios are taken within a round, because the speed of a machine
changes over minutes.
"""

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from babelclip.benchmark.load import Load, put_under_load
from babelclip.benchmark.machine import TOLD_PACKAGES, Machine, Watch, resident_mebibytes, spent_seconds, this_machine
from babelclip.benchmark.rounds import Measurement, quietest, spread
from babelclip.benchmark.servers import running_server
from babelclip.models import registry
from babelclip.models.export import export_folder
from babelclip.models.model import Model
from babelclip.pipeline import LogCallback

CLIENTS = 32
OFFLINE_TEXTS = 512
WARM_SECONDS = 1.0
MEMORY_STEPS = 10
LONGEST_SECONDS = 3600
"""Of a load that ends by the number of its requests."""
PACKAGES = (*TOLD_PACKAGES, "fastapi", "starlette", "uvicorn", "uvloop", "httptools", "sqlalchemy")
LEAST_THROUGHPUT = 0.75
MOST_TAIL = 10.0
MOST_OVERHEAD_MS = 3.0
MOST_GROWTH = 0.05
"""Of the resident memory, between a tenth of the requests and all of them."""

BaselineCommand = Callable[[Path], list[str]]
"""From the folder of the exported model to the command that serves it."""

WORDS = ("a", "small", "brown", "dog", "runs", "along", "the", "beach", "at", "noon", "while", "two", "children")


@dataclass(frozen=True, slots=True)
class Alone:
    """The model in a loop: texts a second in one call of many, the median seconds of a call of one, and processors."""

    rate: float
    seconds: float
    busy: float


@dataclass(frozen=True, slots=True)
class Stood:
    """How a server stood one client and CLIENTS of them, and the seconds of processors that it took for these."""

    single: Load
    crowd: Load
    busy: float
    busy_crowd: float


@dataclass(frozen=True, slots=True)
class ServeRound:
    """One round; ``others`` is what part of the machine other processes took."""

    alone: Alone
    service: Stood
    baseline: Stood | None
    others: float | None

    def as_json(self) -> dict[str, Any]:
        """What JSON can hold of it: without the time of each request.

        :return: texts a second and seconds, by who and what
        """
        found: dict[str, Any] = {"alone": asdict(self.alone), "others": self.others}
        for name, stood in (("service", self.service), ("baseline", self.baseline)):
            if stood is not None:
                found[name] = {
                    "single": stood.single.as_json(),
                    "crowd": stood.crowd.as_json(),
                    "busy": stood.busy_crowd,
                }
        return found


@dataclass(frozen=True, slots=True)
class ServeReport:
    """Everything of one run; ``memory`` is MiB after each tenth of the requests, the start before them."""

    machine: Machine
    model: str
    seconds: float
    rounds: tuple[ServeRound, ...]
    requests: int
    memory: tuple[float, ...]

    def over(self, figure: Callable[[ServeRound], float]) -> Measurement:
        """A figure over all rounds.

        :param figure: of one round
        :return: median, lowest and highest
        """
        return spread(map(figure, self.rounds))

    def bars(self) -> list[tuple[str, float, Measurement, bool]]:
        """What must be reached.

        :return: what, the bar, what was reached, and whether that is enough
        """
        part = self.over(lambda own: own.service.crowd.rate / own.alone.rate)
        tail = self.over(lambda own: own.service.crowd.quantile(0.99) / own.service.single.quantile(0.5))
        overhead = self.over(lambda own: 1e3 * (own.service.single.quantile(0.5) - own.alone.seconds))
        rows = [
            (
                f"throughput of {CLIENTS} clients, part of offline batches",
                LEAST_THROUGHPUT,
                part,
                part.median >= LEAST_THROUGHPUT,
            ),
            (f"p99 of {CLIENTS} clients, times the unloaded p50", MOST_TAIL, tail, tail.median <= MOST_TAIL),
            ("unloaded p50 over the bare call, ms", MOST_OVERHEAD_MS, overhead, overhead.median <= MOST_OVERHEAD_MS),
        ]
        if self.memory:
            growth = self.memory[-1] / self.memory[1] - 1
            rows.append(
                (
                    f"growth of memory over {self.requests:,} requests",
                    MOST_GROWTH,
                    spread([growth]),
                    growth <= MOST_GROWTH,
                )
            )
        return rows


def measure_service(
    name: str,
    scratch: Path,
    *,
    rounds: int,
    seconds: float,
    requests: int,
    baseline: BaselineCommand | None = None,
    say: LogCallback,
) -> ServeReport:
    """Measure a model alone, in the service, and in a baseline server, in rounds and on the same float32 weights.

    :param name: of the model
    :param scratch: a folder for what is made
    :param rounds: how often each has its turn
    :param seconds: of each load
    :param requests: over which memory is looked at, after the rounds; 0 does not look
    :param baseline: the command of another server to measure; it serves ``/v1/embeddings`` and prints its address
    :param say: is told what is under way
    :return: the report
    :raises BabelclipError: if a server does not start
    """
    folder = scratch / "model"
    say("exporting float32 weights")
    export_folder(registry.find(name), folder)
    texts = [" ".join(WORDS[i % 5 : i % 5 + 9]) + f" {i}" for i in range(OFFLINE_TEXTS)]
    own = [sys.executable, "-m", "babelclip", "serve", "--model", str(folder), "--port", "0", "--quiet"]
    say("starting servers")
    with ExitStack() as running:

        def started(command: list[str], model: str) -> _Server:
            process, url, key = running.enter_context(running_server(command, scratch / "home"))
            return _Server(process.pid, partial(put_under_load, url, key, model, texts))

        service = started([*own, "--precision", "float32"], str(folder))
        other = started(baseline(folder), "model") if baseline is not None else None
        model = Model.load(folder)
        model.encode_text(texts)

        def turn() -> ServeRound:
            watch = Watch()
            alone = _alone(model, texts, seconds)
            stood = service.stand(seconds)
            other_stood = other.stand(seconds) if other is not None else None
            busy = sum(one.busy + one.single.busy + one.crowd.busy for one in (stood, other_stood) if one is not None)
            return ServeRound(alone, stood, other_stood, watch.others(alone.busy + busy))

        taken = []
        for number in range(1, rounds + 1):
            say(f"round {number} of {rounds}")
            taken.append(quietest(turn))
        memory = service.remember(requests, say) if requests else ()
    return ServeReport(this_machine(PACKAGES), name, seconds, tuple(taken), requests, memory)


def _alone(model: Model, texts: list[str], seconds: float) -> Alone:
    """The model, as fast as it goes, with many texts a call and then with one."""
    busy = time.process_time()
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        model.encode_text(texts)
        done += len(texts)
    rate = done / (time.perf_counter() - began)
    times: list[float] = []
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        sent = time.perf_counter()
        model.encode_text([texts[len(times) % len(texts)]])
        times.append(time.perf_counter() - sent)
    return Alone(rate, sorted(times)[len(times) // 2], time.process_time() - busy)


@dataclass(frozen=True, slots=True)
class _Server:
    """A server's process, and what puts it under load."""

    process: int
    load: Callable[..., Load]

    def stand(self, seconds: float) -> Stood:
        """One client, then CLIENTS of them; a short load before each does not count."""
        start = spent_seconds(self.process)
        self.load(clients=1, seconds=WARM_SECONDS)
        single = self.load(clients=1, seconds=seconds)
        self.load(clients=CLIENTS, seconds=WARM_SECONDS)
        before = spent_seconds(self.process)
        crowd = self.load(clients=CLIENTS, seconds=seconds)
        end = spent_seconds(self.process)
        return Stood(single, crowd, end - start, end - before)

    def remember(self, requests: int, say: Callable[[str], None]) -> tuple[float, ...]:
        """The resident memory in MiB, before so many requests and after each tenth of them."""
        found = [resident_mebibytes(self.process)]
        for step in range(MEMORY_STEPS):
            say(f"memory: {requests * step // MEMORY_STEPS:,} of {requests:,} requests")
            self.load(clients=CLIENTS, seconds=LONGEST_SECONDS, most=requests // MEMORY_STEPS)
            found.append(resident_mebibytes(self.process))
        return tuple(found)
