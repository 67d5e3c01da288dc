import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from babelclip.errors import BusyError
from babelclip.service.inference.batcher import Batcher
from babelclip.vectors import FloatArray

pytestmark = pytest.mark.anyio


class Gate:
    """An encoder that waits to be let through, and remembers what it ran."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Event()
        self.shuts_behind = False
        self.batches: list[list[Any]] = []

    def __call__(self, rows: Sequence[Any]) -> FloatArray:
        self.batches.append(list(rows))
        self.entered.set()
        assert self.open.wait(20)
        if self.shuts_behind:
            self.shuts_behind = False
            self.shut()
        if "bad" in rows:
            raise RuntimeError("broken")
        return np.array([[float(len(str(row)))] for row in rows], dtype=np.float32)

    def shut(self) -> None:
        self.open.clear()
        self.entered.clear()


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def make(gate: Gate) -> Iterator[Callable[..., Batcher]]:
    made: list[Batcher] = []

    def build(**options: Any) -> Batcher:
        options = {"dimension": 1, "capacity": 100, "batch_tokens": 10, **options}
        made.append(Batcher({"text": gate, "image": gate}, **options))
        return made[-1]

    yield build
    gate.open.set()
    for batcher in made:
        batcher.close()


async def blocked(batcher: Batcher, gate: Gate) -> "asyncio.Task[FloatArray]":
    """The model is at work until the gate opens."""
    gate.shut()
    first = asyncio.ensure_future(batcher.run("first", "text", ["x"], [1]))
    await asyncio.to_thread(gate.entered.wait, 20)
    return first


async def test_rows_come_back_in_their_order(make: Callable[..., Batcher]) -> None:
    batcher = make()
    rows = ["a" * (1 + i % 7) for i in range(45)]
    vectors = await batcher.run("k", "text", rows, [3] * 45)
    assert vectors[:, 0].tolist() == [len(row) for row in rows]


async def test_requests_that_wait_share_a_batch_within_its_tokens(make: Callable[..., Batcher], gate: Gate) -> None:
    batcher = make()
    first = await blocked(batcher, gate)
    others = [asyncio.ensure_future(batcher.run(f"k{i}", "text", [f"row{i}"], [2])) for i in range(7)]
    await asyncio.sleep(0)
    gate.open.set()
    await asyncio.gather(first, *others)
    assert [len(batch) for batch in gate.batches] == [1, 5, 2]
    assert batcher.waiting_tokens == 0


async def crowd(batcher: Batcher, gate: Gate, size: int) -> None:
    """A batch of so many requests was answered."""
    first = await blocked(batcher, gate)
    others = [asyncio.ensure_future(batcher.run(f"k{i}", "text", ["row"], [1])) for i in range(size)]
    await asyncio.sleep(0)
    gate.open.set()
    await asyncio.gather(first, *others)
    assert [len(batch) for batch in gate.batches] == [1, size]


async def crowd_and_late(batcher: Batcher, gate: Gate, size: int, late: int) -> "list[asyncio.Task[FloatArray]]":
    """A batch of so many requests was answered, and so many came while it ran."""
    first = await blocked(batcher, gate)
    others = [asyncio.ensure_future(batcher.run(f"k{i}", "text", ["row"], [1])) for i in range(size)]
    await asyncio.sleep(0)
    gate.shuts_behind = True
    gate.open.set()
    await first
    await asyncio.to_thread(gate.entered.wait, 20)
    waiting = [asyncio.ensure_future(batcher.run(f"late{i}", "text", ["late"], [1])) for i in range(late)]
    await asyncio.sleep(0)
    gate.open.set()
    await asyncio.gather(*others)
    return waiting


async def test_in_a_crowd_a_batch_waits_until_it_is_as_large_as_the_last(
    make: Callable[..., Batcher], gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("babelclip.service.inference.batcher.GATHER_SECONDS", 60)
    monkeypatch.setattr("babelclip.service.inference.batcher.GATHER_PAUSE_SECONDS", 20)
    batcher = make()
    await crowd(batcher, gate, 4)
    again = []
    for i in range(4):
        again.append(asyncio.ensure_future(batcher.run(f"k{i}", "text", ["row"], [1])))
        await asyncio.sleep(0.01)
    await asyncio.gather(*again)
    assert [len(batch) for batch in gate.batches] == [1, 4, 4]


async def test_who_came_alone_while_a_batch_ran_waits_for_those_it_answered_and_all_run_together(
    make: Callable[..., Batcher], gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GATHER_SECONDS", "GATHER_PAUSE_SECONDS", "LAST_PAUSE_SECONDS"):
        monkeypatch.setattr(f"babelclip.service.inference.batcher.{name}", 20)
    batcher = make()
    waiting = await crowd_and_late(batcher, gate, 5, 1)
    await asyncio.sleep(0.05)
    waiting += [asyncio.ensure_future(batcher.run(f"k{i}", "text", ["again"], [1])) for i in range(5)]
    await asyncio.gather(*waiting)
    assert gate.batches[2:] == [["late", *["again"] * 5]]


async def test_many_who_came_while_a_batch_ran_run_at_once(
    make: Callable[..., Batcher], gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GATHER_SECONDS", "GATHER_PAUSE_SECONDS", "LAST_PAUSE_SECONDS"):
        monkeypatch.setattr(f"babelclip.service.inference.batcher.{name}", 60)
    waiting = await crowd_and_late(make(), gate, 5, 2)
    async with asyncio.timeout(20):
        await asyncio.gather(*waiting)
    assert gate.batches[2:] == [["late"] * 2]


async def test_a_batch_waits_no_longer_when_nobody_comes_or_it_is_full(
    make: Callable[..., Batcher], gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("babelclip.service.inference.batcher.GATHER_SECONDS", 60)
    batcher = make()
    await crowd(batcher, gate, 4)
    await batcher.run("k", "text", ["alone"], [1])
    await batcher.run("k", "text", ["alone"], [1])
    assert [len(batch) for batch in gate.batches[2:]] == [1, 1]
    monkeypatch.setattr("babelclip.service.inference.batcher.GATHER_PAUSE_SECONDS", 20)
    gate.batches.clear()
    await crowd(batcher, gate, 4)
    await batcher.run("k", "text", ["large"], [10])
    assert gate.batches[-1] == ["large"]


async def test_a_row_larger_than_a_batch_runs_alone(make: Callable[..., Batcher], gate: Gate) -> None:
    await make().run("k", "text", ["big", "small", "big"], [50, 1, 20])
    assert gate.batches == [["big"], ["small"], ["big"]]


async def test_a_flood_of_one_key_does_not_hold_up_another(make: Callable[..., Batcher], gate: Gate) -> None:
    batcher = make(capacity=1000)
    first = await blocked(batcher, gate)
    flood = asyncio.ensure_future(batcher.run("flood", "text", ["f"] * 200, [1] * 200))
    single = asyncio.ensure_future(batcher.run("single", "text", ["s"], [1]))
    await asyncio.sleep(0)
    gate.open.set()
    await asyncio.gather(first, flood, single)
    assert "s" in gate.batches[1]
    assert gate.batches[1].count("f") == 9


async def test_texts_and_pictures_take_turns(make: Callable[..., Batcher], gate: Gate) -> None:
    batcher = make()
    first = await blocked(batcher, gate)
    work = [
        asyncio.ensure_future(batcher.run("a", "image", ["i"] * 2, [5, 5])),
        asyncio.ensure_future(batcher.run("b", "text", ["t"] * 2, [5, 5])),
    ]
    await asyncio.sleep(0)
    gate.open.set()
    await asyncio.gather(first, *work)
    assert all(len(set(batch)) == 1 for batch in gate.batches)


async def test_a_full_queue_is_busy_and_says_when_to_come_again(make: Callable[..., Batcher], gate: Gate) -> None:
    batcher = make(capacity=10)
    first = await blocked(batcher, gate)
    waiting = [asyncio.ensure_future(batcher.run(f"k{i}", "text", ["row"], [4])) for i in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(BusyError, match="over its limit of 10") as busy:
        await batcher.run("k3", "text", ["row"], [4])
    assert busy.value.retry_seconds >= 1
    with pytest.raises(BusyError, match="share"):
        await batcher.run("k1", "text", ["row"], [2])
    gate.open.set()
    await asyncio.gather(first, *waiting)
    await batcher.run("k3", "text", ["row"], [4])


async def test_what_nobody_waits_for_any_more_does_not_run(make: Callable[..., Batcher], gate: Gate) -> None:
    batcher = make(capacity=10)
    first = await blocked(batcher, gate)
    left = asyncio.ensure_future(batcher.run("k", "text", ["left"] * 4, [1] * 4))
    await asyncio.sleep(0)
    assert batcher.waiting_tokens == 4
    left.cancel()
    with pytest.raises(asyncio.CancelledError):
        await left
    assert batcher.waiting_tokens == 0
    gate.open.set()
    await first
    await batcher.run("k", "text", ["next"], [10])
    assert "left" not in str(gate.batches)


async def test_an_error_reaches_only_the_requests_of_its_batch(make: Callable[..., Batcher]) -> None:
    batcher = make()
    with pytest.raises(RuntimeError, match="broken"):
        await batcher.run("k", "text", ["bad"] * 30, [1] * 30)
    assert batcher.waiting_tokens == 0
    assert (await batcher.run("k", "text", ["good"], [1])).shape == (1, 1)


async def test_closing_finishes_what_was_taken_and_takes_no_more(make: Callable[..., Batcher], gate: Gate) -> None:
    batcher = make()
    first = await blocked(batcher, gate)
    waiting = asyncio.ensure_future(batcher.run("k", "text", ["row"] * 30, [1] * 30))
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(asyncio.to_thread(batcher.close))
    await asyncio.sleep(0.05)
    with pytest.raises(BusyError, match="shutting down"):
        await batcher.run("k", "text", ["late"], [1])
    gate.open.set()
    await closing
    assert (await waiting).shape == (30, 1)
    assert (await first).shape == (1, 1)
