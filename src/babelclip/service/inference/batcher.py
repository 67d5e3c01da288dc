"""Batches across requests: rows of many requests run together, and no key waits for another's flood.

A thread of its own runs the model. While a batch runs, requests gather; the next batch takes from every key that
waits, in turn and in equal shares of tokens. A lone request runs at once, and so do many that came meanwhile; where
hardly anybody did, a batch waits a few milliseconds for those whom the last one answered.
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
"""Tokens of a batch: enough for a full batch's speed, and so few that a lone request does not wait long."""
SHARE_OF_A_KEY = 0.5
"""Of the queue: what one key may fill."""
RATE_WEIGHT = 0.2
"""Of the newest batch in the running mean of tokens a second."""
MOST_RETRY_SECONDS = 60
GATHER_SECONDS = 0.03
"""How long a crowd may gather before a batch, in all ..."""
GATHER_PAUSE_SECONDS = 0.008
"""... how long without anybody new, while fewer are there than the last batch answered ..."""
LAST_PAUSE_SECONDS = 0.002
"""... and how long for those that are still missing then."""
FEW_WAIT = 0.25
"""Of a batch: fewer came while it ran, where clients ask again when they are answered; others come at any time."""

Encoder = Callable[[Sequence[Any]], FloatArray]
"""Rows of one kind -> float32 (n, d)."""


@dataclass(slots=True, eq=False)
class _Job:
    """A request's rows of one kind. ``taken`` rows are in batches, ``done`` ones have their vectors."""

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
    gone: bool = False


@dataclass(slots=True)
class _Batch:
    """Rows of one kind: spans of jobs."""

    kind: str
    spans: list[tuple[_Job, int, int]] = field(default_factory=list)
    cost: int = 0

    @property
    def rows(self) -> list[Any]:
        return [row for job, start, stop in self.spans for row in job.rows[start:stop]]


class Batcher:
    """A queue before a model. ``run`` is called from event loops; the model runs in one thread."""

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        *,
        dimension: int,
        capacity: int,
        batch_tokens: int = BATCH_TOKENS,
    ) -> None:
        """Begin with an empty queue.

        :param encoders: kind of rows -> what makes vectors of them
        :param dimension: of a vector
        :param capacity: tokens that may wait
        :param batch_tokens: tokens that run together; one row alone may have more
        """
        self._encoders = encoders
        self._dimension = dimension
        self._capacity = capacity
        self._batch_tokens = batch_tokens
        self._queues: dict[str, deque[_Job]] = {}
        self._turns: deque[str] = deque()
        self._waiting: dict[str, int] = {}
        self._total = 0
        self._rate = 0.0
        self._crowd = 0
        self._left = 0
        self._wanted = 1
        self._closing = False
        self._changed = threading.Condition()
        self.batches = 0
        self.rows = 0
        self._thread = threading.Thread(target=self._work, name="babelclip-model", daemon=True)
        self._thread.start()

    @property
    def waiting_tokens(self) -> int:
        """Tokens that wait."""
        return self._total

    async def run(self, owner: str, kind: str, rows: Sequence[Any], costs: Sequence[int]) -> FloatArray:
        """The vectors of rows. Cancelling takes out of the queue what does not run yet.

        :param owner: the key whose rows they are
        :param kind: one of the encoders' names
        :param rows: at least one
        :param costs: tokens of each
        :return: float32 (n, d), in order
        :raises BusyError: if the queue is full, or the service is ending
        """
        loop = asyncio.get_running_loop()
        vectors = np.empty((len(rows), self._dimension), dtype=np.float32)
        job = _Job(owner, kind, rows, costs, loop, loop.create_future(), vectors, left=sum(costs))
        self._put(job)
        try:
            return await job.future
        except asyncio.CancelledError:
            self._leave(job)
            raise

    def close(self) -> None:
        """Take nothing more, finish what was taken, and end."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()

    def _put(self, job: _Job) -> None:
        with self._changed:
            mine = self._waiting.get(job.owner, 0)
            if self._closing:
                raise BusyError("the service is ending; another takes over", 1)
            if self._total and self._total + job.left > self._capacity:
                raise BusyError(
                    f"{self._total} tokens wait, and {job.left} more are over the limit of {self._capacity}",
                    self._retry_seconds(),
                )
            if mine and mine + job.left > self._capacity * SHARE_OF_A_KEY:
                raise BusyError(
                    f"{mine} tokens of this key wait, which is its share of the queue", self._retry_seconds()
                )
            if job.owner not in self._queues:
                self._queues[job.owner] = deque()
                self._turns.append(job.owner)
            self._queues[job.owner].append(job)
            self._count(job, job.left)
            if self._gathered():
                self._changed.notify()

    def _count(self, job: _Job, tokens: int) -> None:
        """Tokens come into the queue or, where negative, leave it."""
        self._total += tokens
        self._waiting[job.owner] = self._waiting.get(job.owner, 0) + tokens
        if self._waiting[job.owner] == 0:
            del self._waiting[job.owner]

    def _retry_seconds(self) -> int:
        """When half of the queue will have gone, at the rate of late."""
        if not self._rate:
            return 1
        return max(1, min(MOST_RETRY_SECONDS, round(self._total / 2 / self._rate)))

    def _leave(self, job: _Job) -> None:
        """A client that waited is gone."""
        with self._changed:
            job.gone = True
            queued = self._queues.get(job.owner)
            if queued is not None and job in queued:
                queued.remove(job)
                self._count(job, -job.left)
                job.left = 0
                self._drop_if_empty(job.owner)

    def _drop_if_empty(self, owner: str) -> None:
        if not self._queues[owner]:
            del self._queues[owner]
            self._turns.remove(owner)

    def _work(self) -> None:
        """The thread: batch after batch, until closed and empty."""
        while True:
            with self._changed:
                while not self._queues and not self._closing:
                    self._changed.wait()
                if not self._queues:
                    return
                self._gather()
                batch = self._form()
                self._crowd = len({id(job) for job, _, _ in batch.spans})
            began = time.perf_counter()
            try:
                vectors = self._encoders[batch.kind](batch.rows)
            except Exception as error:  # whatever it is, those who wait must hear of it
                self._tell(batch, None, error)
                continue
            rate = batch.cost / max(1e-6, time.perf_counter() - began)
            self._rate += (rate - self._rate) * (RATE_WEIGHT if self._rate else 1)
            self.batches += 1
            self.rows += len(vectors)
            self._tell(batch, vectors, None)

    def _gather(self) -> None:
        """Where few waited when the last batch was done: wait for all whom it answered, as long as they keep coming.

        The worker's threads wait for each other at every layer, so answering requests while it runs costs it twice the
        time; it is faster to answer first, and then to run one large batch. Those who waited are in it: without the
        last that comes, somebody else would wait for two batches each time. A lone request never waits here.
        """
        if self._crowd == 1 or self._left >= FEW_WAIT * self._crowd:
            return
        self._wanted = self._crowd + self._left
        until = time.monotonic() + GATHER_SECONDS
        waiting = self._jobs()
        while not self._gathered() and not self._closing and time.monotonic() < until:
            self._changed.wait(GATHER_PAUSE_SECONDS if waiting < self._crowd else LAST_PAUSE_SECONDS)
            before, waiting = waiting, self._jobs()
            if waiting == before:
                break
        self._wanted = 1

    def _gathered(self) -> bool:
        """Whether there is what the next batch waits for."""
        return self._jobs() >= self._wanted or self._total >= self._batch_tokens

    def _jobs(self) -> int:
        return sum(map(len, self._queues.values()))

    def _form(self) -> _Batch:
        """The next batch: each key in turn gives rows worth its share; all of the kind of the first."""
        batch = _Batch(self._queues[self._turns[0]][0].kind)
        share = max(1, self._batch_tokens // len(self._turns))
        for owner in list(self._turns):
            self._take(batch, owner, share)
        # What the others left of their shares.
        for owner in list(self._turns):
            self._take(batch, owner, self._batch_tokens)
        self._turns.rotate(-1)
        return batch

    def _take(self, batch: _Batch, owner: str, share: int) -> None:
        """Rows of a key, worth up to its share and what room the batch has."""
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

    def _tell(self, batch: _Batch, vectors: FloatArray | None, error: Exception | None) -> None:
        """Give rows to their jobs, and wake those whose rows are all there."""
        with self._changed:
            self._left = self._jobs()
        place = 0
        ready: dict[asyncio.AbstractEventLoop, list[_Job]] = {}
        for job, start, stop in batch.spans:
            if vectors is not None:
                job.vectors[start:stop] = vectors[place : place + stop - start]
            place += stop - start
            job.done += stop - start
            if error is not None and not job.gone:
                self._leave(job)
            if error is not None or job.done == len(job.rows):
                ready.setdefault(job.loop, []).append(job)
        for loop, jobs in ready.items():
            if not loop.is_closed():
                loop.call_soon_threadsafe(_resolve, jobs, error)


def _resolve(jobs: list[_Job], error: Exception | None) -> None:
    for job in jobs:
        if not job.future.done():
            job.future.set_result(job.vectors) if error is None else job.future.set_exception(error)
