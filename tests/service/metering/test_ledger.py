import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError

from babelclip.errors import InputError, StoreError
from babelclip.service.metering import ledger as ledgers
from babelclip.service.metering.ledger import Ledger, LedgerEntry, day_of
from babelclip.service.request_id import new_request_id

ROW = LedgerEntry("", "k1", 1_790_000_000_000, "2026-09-21", "mini", "/v1/embeddings", 7, 1, 100, 3, 35_000)


@pytest.fixture
def ledger(open_again: Callable[[], Engine]) -> Iterator[Ledger]:
    opened = Ledger(open_again())
    opened.start()
    yield opened
    opened.close()


def entry(**changes: object) -> LedgerEntry:
    return replace(ROW, request_id=new_request_id(), **changes)  # type: ignore[arg-type]


@pytest.mark.anyio
async def test_a_row_is_there_when_record_returns(ledger: Ledger, open_again: Callable[[], Engine]) -> None:
    row = entry()
    await ledger.record(row)
    assert list(Ledger(open_again()).rows()) == [row]


@pytest.mark.anyio
async def test_many_at_once_are_all_there_and_the_sums_are_theirs(ledger: Ledger) -> None:
    await asyncio.gather(*(ledger.record(entry(key_id=f"k{i % 3}", tokens=i)) for i in range(700)))
    assert len(list(ledger.rows())) == 700
    assert [(u.key_id, u.requests, u.tokens) for u in ledger.usage(["key"])] == [
        (f"k{k}", len(range(k, 700, 3)), sum(range(k, 700, 3))) for k in range(3)
    ]


@pytest.mark.anyio
async def test_rows_that_come_together_share_a_commit(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    commits: list[int] = []
    insert = ledgers.insert_entries

    def counted(connection: Connection, rows: list[LedgerEntry]) -> None:
        commits.append(len(rows))
        insert(connection, rows)

    monkeypatch.setattr(ledgers, "insert_entries", counted)
    await asyncio.gather(*(ledger.record(entry()) for _ in range(32)))
    assert commits == [32]


@pytest.mark.anyio
async def test_a_row_that_is_written_again_counts_once(ledger: Ledger) -> None:
    row, other = entry(), entry()
    await ledger.record(row)
    await asyncio.gather(ledger.record(row), ledger.record(other), ledger.record(row))
    assert len(list(ledger.rows())) == 2
    (sums,) = ledger.usage([])
    assert (sums.requests, sums.tokens, sums.picodollars) == (2, 14, 70_000)


@pytest.mark.anyio
async def test_two_services_write_to_one_ledger(ledger: Ledger, open_again: Callable[[], Engine]) -> None:
    second = Ledger(open_again())
    second.start()
    await asyncio.gather(*((ledger, second)[i % 2].record(entry(key_id=f"k{i % 5}")) for i in range(200)))
    second.close()
    assert sum(usage.requests for usage in ledger.usage(["key", "model"])) == 200
    assert len(list(ledger.rows())) == 200


@pytest.mark.anyio
async def test_usage_is_summed_by_what_is_asked_for(ledger: Ledger) -> None:
    for changes in ({}, {"day": "2026-09-22"}, {"model": "big"}, {"key_id": "k2", "picodollars": 2**60}):
        await ledger.record(entry(**changes))
    assert [(u.day, u.requests) for u in ledger.usage(["day"])] == [("2026-09-21", 3), ("2026-09-22", 1)]
    assert [(u.key_id, u.model) for u in ledger.usage(["model", "key"])] == [
        ("k1", "big"),
        ("k1", "mini"),
        ("k2", "mini"),
    ]
    assert ledger.usage([], since="2026-09-22")[0].requests == 1
    assert ledger.usage([], until="2026-09-21", key_id="k1")[0].requests == 2
    assert ledger.usage([], key_id="k2")[0].picodollars == 2**60
    assert ledger.usage([], key_id="nobody") == []
    assert [row.day for row in ledger.rows(since="2026-09-22")] == ["2026-09-22"]


def test_what_is_no_day_is_refused(ledger: Ledger) -> None:
    for day in ("2026-9-1", "yesterday", "2026-02-30", "20260901"):
        with pytest.raises(InputError, match="2026-01-31"):
            ledger.usage([], since=day)


@pytest.mark.anyio
async def test_a_database_that_is_away_for_a_moment_loses_nothing(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert, tries = ledgers.insert_entries, iter([True, False])

    def away_once(connection: Connection, rows: list[LedgerEntry]) -> None:
        if next(tries):
            raise OperationalError("INSERT", {}, OSError("locked"))
        insert(connection, rows)

    monkeypatch.setattr(ledgers, "insert_entries", away_once)
    row = entry()
    await ledger.record(row)
    assert list(ledger.rows()) == [row]


@pytest.mark.anyio
async def test_who_waits_hears_that_the_ledger_cannot_be_written(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledgers, "PAUSE_SECONDS", 0)
    await ledger.record(entry())

    def broken(*_: object) -> None:
        raise OperationalError("INSERT secret", {}, OSError("disk full"))

    with monkeypatch.context() as away:
        away.setattr(ledgers, "insert_entries", broken)
        with pytest.raises(StoreError, match="disk full") as refused:
            await ledger.record(entry())
        assert "secret" not in str(refused.value)
    await ledger.record(entry())
    assert len(list(ledger.rows())) == 2


def test_days_are_those_of_utc() -> None:
    assert day_of(0) == "1970-01-01"
    assert day_of(86_400_000 - 1) == "1970-01-01"


def test_request_ids_sort_by_time() -> None:
    first = new_request_id()
    ids = [new_request_id() for _ in range(100)]
    assert len(set(ids)) == 100
    assert all(later[:16] >= first[:16] for later in ids)
