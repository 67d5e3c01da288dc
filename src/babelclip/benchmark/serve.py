"""The service under load, beside the model alone and a plain server of sentence-transformers on the same weights."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from babelclip import registry
from babelclip.benchmark.load import Load, put_under_load
from babelclip.benchmark.machine import resident_mebibytes
from babelclip.benchmark.servers import running_server
from babelclip.export import export_folder
from babelclip.model import Model

CLIENTS = 32
OFFLINE_TEXTS = 512
WARM_SECONDS = 1.0
LEAST_THROUGHPUT = 0.75
MOST_TAIL = 10.0
MOST_OVERHEAD_MS = 3.0
MOST_GROWTH = 0.05
"""Of the resident memory, between a tenth of the requests and all of them."""

WORDS = ("a", "small", "brown", "dog", "runs", "along", "the", "beach", "at", "noon", "while", "two", "children")


@dataclass(frozen=True, slots=True)
class ServeReport:
    """What was measured; times in milliseconds, memory in MiB (0 where it was not measured)."""

    offline_rate: float
    bare_ms: float
    unloaded_p50_ms: float
    loaded_rate: float
    loaded_p50_ms: float
    loaded_p99_ms: float
    naive_rate: float
    naive_unloaded_p50_ms: float
    naive_p99_ms: float
    memory_early: float
    memory_late: float
    requests: int

    def bars(self) -> list[tuple[str, float, float, bool]]:
        """What must be reached.

        :return: what, the bar, what was reached, and whether that is enough
        """
        part = self.loaded_rate / self.offline_rate
        tail = self.loaded_p99_ms / self.unloaded_p50_ms
        overhead = self.unloaded_p50_ms - self.bare_ms
        rows = [
            ("throughput of 32 clients, part of offline", LEAST_THROUGHPUT, part, part >= LEAST_THROUGHPUT),
            ("p99 of 32 clients, times the unloaded p50", MOST_TAIL, tail, tail <= MOST_TAIL),
            ("overhead over the bare call, ms", MOST_OVERHEAD_MS, overhead, overhead <= MOST_OVERHEAD_MS),
        ]
        if self.memory_early:
            growth = self.memory_late / self.memory_early - 1
            rows.append((f"memory growth over {self.requests} requests", MOST_GROWTH, growth, growth <= MOST_GROWTH))
        return rows


def measure_service(
    name: str, scratch: Path, *, seconds: float, requests: int, naive: bool, say: Callable[[str], None]
) -> ServeReport:
    """Measure a model alone, in the service, and in the plain server; one after another, on the same weights.

    :param name: of the model
    :param scratch: a folder for what is made
    :param seconds: of each load
    :param requests: after which memory is looked at again; 0 does not look
    :param naive: measure the plain server too
    :param say: is told what is under way
    :return: the report
    :raises BabelclipError: if a server does not start
    """
    folder = scratch / "model"
    say("exporting float32 weights")
    export_folder(registry.find(name), folder)
    texts = [" ".join(WORDS[i % 5 : i % 5 + 9]) + f" {i}" for i in range(OFFLINE_TEXTS)]
    say("the model alone")
    offline, bare = _alone(folder, texts, seconds)
    command = [sys.executable, "-m", "babelclip", "serve", "--model", str(folder), "--port", "0", "--quiet"]
    command += ["--precision", "float32"]
    with running_server(command, scratch / "home") as (process, url, key):
        say("the service, one client")
        single = _load(url, key, str(folder), texts, 1, seconds)
        say("the service, 32 clients")
        loaded = _load(url, key, str(folder), texts, CLIENTS, seconds)
        early = late = 0.0
        if requests:
            say(f"the service, {requests} requests")
            put_under_load(url, key, str(folder), texts, clients=CLIENTS, seconds=3600, most=requests // 10)
            early = resident_mebibytes(process.pid)
            put_under_load(url, key, str(folder), texts, clients=CLIENTS, seconds=3600, most=requests - requests // 10)
            late = resident_mebibytes(process.pid)
    plain_single = plain = Load(0, 0.0, (0.0,))
    if naive:
        command = [sys.executable, "-m", "babelclip.benchmark.naive_server", str(folder / "text")]
        with running_server(command, scratch / "home") as (_, url, key):
            say("the plain server")
            plain_single = _load(url, key, "model", texts, 1, seconds)
            plain = _load(url, key, "model", texts, CLIENTS, seconds)
    return ServeReport(
        offline_rate=offline,
        bare_ms=bare * 1e3,
        unloaded_p50_ms=single.quantile(0.5) * 1e3,
        loaded_rate=loaded.rate,
        loaded_p50_ms=loaded.quantile(0.5) * 1e3,
        loaded_p99_ms=loaded.quantile(0.99) * 1e3,
        naive_rate=plain.rate,
        naive_unloaded_p50_ms=plain_single.quantile(0.5) * 1e3,
        naive_p99_ms=plain.quantile(0.99) * 1e3,
        memory_early=early,
        memory_late=late,
        requests=requests,
    )


def _alone(folder: Path, texts: list[str], seconds: float) -> tuple[float, float]:
    """Texts a second of the model in one call, and the median time of one text in seconds."""
    model = Model.load(folder)
    model.encode_text(texts)
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
    return rate, sorted(times)[len(times) // 2]


def _load(url: str, key: str, model: str, texts: list[str], clients: int, seconds: float) -> Load:
    """A load, after a short one that does not count."""
    put_under_load(url, key, model, texts, clients=clients, seconds=WARM_SECONDS)
    return put_under_load(url, key, model, texts, clients=clients, seconds=seconds)
