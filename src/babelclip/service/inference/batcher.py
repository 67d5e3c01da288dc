"""Dynamic batching: rows of concurrent requests run in one batch, in equal shares for each API key.

One thread runs the model. While a batch runs, requests queue; the next batch takes rows from every key with queued
requests, in turn and in equal shares of tokens. A single request runs at once, and so do many requests that queued
while the last batch ran. If only few did, the batcher waits a few milliseconds for the clients of the last batch.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from babelclip.errors import BusyError
from babelclip.vectors import FloatArray

BATCH_TOKENS = 2048
"""Tokens per batch: enough for full throughput, and few enough that a single request does not wait long."""
SHARE_OF_A_KEY = 0.5
"""Share of the queue's capacity that one key may fill."""
RATE_WEIGHT = 0.2
"""Weight of the newest batch in the running mean of tokens per second."""
MOST_RETRY_SECONDS = 60
GATHER_SECONDS = 0.03
"""Longest wait for concurrent requests before a batch, in all ..."""
GATHER_PAUSE_SECONDS = 0.008
"""... without a new request, while fewer are queued than the last batch answered ..."""
LAST_PAUSE_SECONDS = 0.002
"""... and for those that are still missing after that."""
FEW_WAIT = 0.25
"""Share of a batch: closed-loop clients send fewer requests than this while it runs, independent clients more."""

Encoder = Callable[[Sequence[Any]], FloatArray]
"""Rows of one kind -> float32 (n, d)."""


@dataclass(slots=True, eq=False)
class _Job:
    """Rows of one kind of a request: ``taken`` are in batches, ``done`` have vectors; ``left`` is the queued tokens."""

    owner: str
    kind: str
    rows: Sequence[Any]
    costs: Sequence[int]
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[FloatArray]"
    vectors: FloatArray
    taken: int = 0
    done: int = 0
    left: int = 0
    cancelled: bool = False


@dataclass(slots=True)
class _Batch:
    """A batch: spans of jobs of one kind."""

    kind: str
    spans: list[tuple[_Job, int, int]] = field(default_factory=list)
    cost: int = 0

    @property
    def rows(self) -> list[Any]:
        return [row for job, start, stop in self.spans for row in job.rows[start:stop]]


class Batcher:
    """The batch queue of a model. ``run`` is called from event loops; the model runs in one thread."""

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        *,
        dimension: int,
        capacity: int,
        batch_tokens: int = BATCH_TOKENS,
    ) -> None:
        """Start the thread with an empty queue.

        :param encoders: kind of rows -> encoder
        :param dimension: dimension of the vectors
        :param capacity: tokens that may be queued
        :param batch_tokens: tokens per batch; a single row may have more
        """
        self._encoders = encoders
        self._dimension = dimension
        self._capacity = capacity
        self._batch_tokens = batch_tokens
        self._queues: dict[str, deque[_Job]] = {}
        self._order: deque[str] = deque()
        self._waiting: dict[str, int] = {}
        self._total = 0
        self._rate = 0.0
        self._last_requests = 0
        self._queued_meanwhile = 0
        self._wanted = 1
        self._closing = False
        self._changed = threading.Condition()
        self.batches = 0
        self.rows = 0
        self._thread = threading.Thread(target=self._work, name="babelclip-model", daemon=True)
        self._thread.start()

    @property
    def waiting_tokens(self) -> int:
        """Number of queued tokens."""
        return self._total

    async def run(self, owner: str, kind: str, rows: Sequence[Any], costs: Sequence[int]) -> FloatArray:
        """Encode rows. Cancelling removes rows from the queue that do not run yet.

        :param owner: id of the API key
        :param kind: name of the encoder
        :param rows: at least one row
        :param costs: tokens of each row
        :return: float32 (n, d), in the order of the rows
        :raises BusyError: if the queue is full, or the service is shutting down
        """
        loop = asyncio.get_running_loop()
        vectors = np.empty((len(rows), self._dimension), dtype=np.float32)
        job = _Job(owner, kind, rows, costs, loop, loop.create_future(), vectors, left=sum(costs))
        self._put(job)
        try:
            return await job.future
        except asyncio.CancelledError:
            self._cancel(job)
            raise

    def close(self) -> None:
        """Accept no more rows, finish the queue, and end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()

    def _put(self, job: _Job) -> None:
        with self._changed:
            mine = self._waiting.get(job.owner, 0)
            if self._closing:
                raise BusyError("the service is shutting down; try again", 1)
            if self._total and self._total + job.left > self._capacity:
                raise BusyError(
                    f"the queue has {self._total} tokens, and {job.left} more are over its limit of {self._capacity}",
                    self._retry_seconds(),
                )
            if mine and mine + job.left > self._capacity * SHARE_OF_A_KEY:
                message = f"the queue has {mine} tokens of this key, and {job.left} more are over its share"
                raise BusyError(message, self._retry_seconds())
            if job.owner not in self._queues:
                self._queues[job.owner] = deque()
                self._order.append(job.owner)
            self._queues[job.owner].append(job)
            self._count(job, job.left)
            if self._is_gathered():
                self._changed.notify()

    def _count(self, job: _Job, tokens: int) -> None:
        """Add queued tokens of a job; a negative number removes them."""
        self._total += tokens
        self._waiting[job.owner] = self._waiting.get(job.owner, 0) + tokens
        if self._waiting[job.owner] == 0:
            del self._waiting[job.owner]

    def _retry_seconds(self) -> int:
        """Time until half of the queue is done, at the recent rate."""
        if not self._rate:
            return 1
        return max(1, min(MOST_RETRY_SECONDS, round(self._total / 2 / self._rate)))

    def _cancel(self, job: _Job) -> None:
        """Remove a cancelled job from the queue."""
        with self._changed:
            job.cancelled = True
            queued = self._queues.get(job.owner)
            if queued is not None and job in queued:
                queued.remove(job)
                self._count(job, -job.left)
                job.left = 0
                self._drop_if_empty(job.owner)

    def _drop_if_empty(self, owner: str) -> None:
        if not self._queues[owner]:
            del self._queues[owner]
            self._order.remove(owner)

    def _work(self) -> None:
        """Run batches in the thread, until the queue is closed and empty."""
        while True:
            with self._changed:
                while not self._queues and not self._closing:
                    self._changed.wait()
                if not self._queues:
                    return
                self._gather()
                batch = self._form()
                self._last_requests = len({id(job) for job, _, _ in batch.spans})
            began = time.perf_counter()
            try:
                vectors = self._encoders[batch.kind](batch.rows)
            except Exception as error:  # every error is passed on to the waiting requests
                self._deliver(batch, None, error)
                continue
            rate = batch.cost / max(1e-6, time.perf_counter() - began)
            self._rate += (rate - self._rate) * (RATE_WEIGHT if self._rate else 1)
            self.batches += 1
            self.rows += len(vectors)
            self._deliver(batch, vectors, None)

    def _gather(self) -> None:
        """If few requests were queued when the last batch ended: wait for its clients, as long as new requests arrive.

        The runtime's threads synchronize at every layer, so sending responses while it runs costs it twice the time;
        it is faster to respond first, and then to run one large batch. It includes the queued requests: otherwise some
        client would wait for two batches each time. A single request never waits here.
        """
        if self._last_requests == 1 or self._queued_meanwhile >= FEW_WAIT * self._last_requests:
            return
        self._wanted = self._last_requests + self._queued_meanwhile
        until = time.monotonic() + GATHER_SECONDS
        waiting = self._jobs()
        while not self._is_gathered() and not self._closing and time.monotonic() < until:
            self._changed.wait(GATHER_PAUSE_SECONDS if waiting < self._last_requests else LAST_PAUSE_SECONDS)
            before, waiting = waiting, self._jobs()
            if waiting == before:
                break
        self._wanted = 1

    def _is_gathered(self) -> bool:
        """Whether the queue has what the next batch waits for."""
        return self._jobs() >= self._wanted or self._total >= self._batch_tokens

    def _jobs(self) -> int:
        return sum(map(len, self._queues.values()))

    def _form(self) -> _Batch:
        """The next batch: rows of each key in turn, up to its share; all of the kind of the first job."""
        batch = _Batch(self._queues[self._order[0]][0].kind)
        share = max(1, self._batch_tokens // len(self._order))
        for owner in list(self._order):
            self._take(batch, owner, share)
        # Fill up what other keys left of their shares.
        for owner in list(self._order):
            self._take(batch, owner, self._batch_tokens)
        self._order.rotate(-1)
        return batch

    def _take(self, batch: _Batch, owner: str, share: int) -> None:
        """Add rows of a key, up to its share and the room in the batch."""
        queued = self._queues.get(owner, ())
        room = min(share, self._batch_tokens - batch.cost)
        for job in list(queued):
            if job.kind != batch.kind:
                continue
            start, spent = job.taken, 0
            while job.taken < len(job.rows):
                cost = job.costs[job.taken]
                if cost > room and (batch.cost or spent):
                    break
                room -= cost
                spent += cost
                job.taken += 1
            if job.taken > start:
                batch.spans.append((job, start, job.taken))
                batch.cost += spent
                job.left -= spent
                self._count(job, -spent)
            if job.taken < len(job.rows):
                return
            self._queues[owner].remove(job)
            self._drop_if_empty(owner)

    def _deliver(self, batch: _Batch, vectors: FloatArray | None, error: Exception | None) -> None:
        """Copy vectors to their jobs, and resolve the complete ones."""
        with self._changed:
            self._queued_meanwhile = self._jobs()
        offset = 0
        ready: dict[asyncio.AbstractEventLoop, list[_Job]] = {}
        for job, start, stop in batch.spans:
            if vectors is not None:
                job.vectors[start:stop] = vectors[offset : offset + stop - start]
            offset += stop - start
            job.done += stop - start
            if error is not None and not job.cancelled:
                self._cancel(job)
            if error is not None or job.done == len(job.rows):
                ready.setdefault(job.loop, []).append(job)
        for loop, jobs in ready.items():
            if not loop.is_closed():
                loop.call_soon_threadsafe(_resolve, jobs, error)


def _resolve(jobs: list[_Job], error: Exception | None) -> None:
    for job in jobs:
        if not job.future.done():
            job.future.set_result(job.vectors) if error is None else job.future.set_exception(error)
