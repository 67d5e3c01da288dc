import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest
from sqlalchemy import Engine

from babelclip.errors import InputError, StoreError
from babelclip.service.errors import ApiError
from babelclip.service.metering.keys import Key, KeyLimits, KeyStore, now_ms
from babelclip.service.metering.ledger import Ledger, LedgerEntry, day_of
from babelclip.service.metering.prices import picodollars
from babelclip.service.metering.quotas import Quotas, RateLimiter
from babelclip.service.request_id import new_request_id

pytestmark = pytest.mark.anyio


def key(**limits: int) -> Key:
    return Key(new_request_id()[-8:], "test", ("embed",), 0, limits=KeyLimits(**limits))


@pytest.fixture
async def rates(limits_url: str) -> AsyncIterator[RateLimiter]:
    opened = RateLimiter(limits_url)
    yield opened
    await opened.close()


async def test_requests_over_the_limit_of_a_minute_are_refused(rates: RateLimiter) -> None:
    limited, other = key(requests_per_minute=3), key(requests_per_minute=3)
    for _ in range(3):
        await rates.count_request(limited)
    with pytest.raises(ApiError, match="3 requests per minute") as refused:
        await rates.count_request(limited)
    assert refused.value.status == 429
    assert 1 <= int(refused.value.headers["retry-after"]) <= 60
    await rates.count_request(other)
    for _ in range(10):
        await rates.count_request(key())


async def test_tokens_over_the_limit_of_a_minute_are_refused_and_do_not_count(rates: RateLimiter) -> None:
    limited = key(tokens_per_minute=100)
    await rates.count_tokens(limited, 60)
    with pytest.raises(ApiError) as refused:
        await rates.count_tokens(limited, 41)
    assert refused.value.code == "rate_limit_exceeded"
    await rates.count_tokens(limited, 40)
    with pytest.raises(ApiError, match="limit of 100 per minute; split the request") as never:
        await rates.count_tokens(limited, 101)
    assert never.value.status == 400


async def test_services_that_share_a_store_share_the_limits(limits_url: str) -> None:
    if limits_url == "memory://":
        pytest.skip("memory is of one service")
    limited = key(requests_per_minute=10)
    services = [RateLimiter(limits_url) for _ in range(3)]
    done = await asyncio.gather(*(services[i % 3].count_request(limited) for i in range(30)), return_exceptions=True)
    assert sum(result is None for result in done) == 10
    for service in services:
        await service.close()


async def test_a_store_that_is_away_is_named_without_its_password() -> None:
    pytest.importorskip("redis")
    rates = RateLimiter("redis://:secret@127.0.0.1:1/0")
    assert not await rates.is_available()
    with pytest.raises(StoreError) as away:
        await rates.count_request(key(requests_per_minute=1))
    await rates.close()
    assert "secret" not in str(away.value)
    with pytest.raises(InputError) as bad:
        RateLimiter("memcached://:secret@host")
    assert "secret" not in str(bad.value)


def named(count: int) -> list[str]:
    return [new_request_id() for _ in range(count)]


async def test_tokens_a_day_are_never_passed_however_many_come_at_once(open_again: Callable[[], Engine]) -> None:
    quotas, limited, ids = Quotas(Ledger(open_again())), key(tokens_per_day=100), named(10)
    tries = await asyncio.gather(*(quotas.reserve(limited, name, 30, 0) for name in ids), return_exceptions=True)
    assert sum(result is None for result in tries) == 3
    with pytest.raises(ApiError, match="90 are used") as refused:
        await quotas.reserve(limited, "other", 11, 0)
    assert refused.value.code == "insufficient_quota"
    assert 1 <= int(refused.value.headers["retry-after"]) <= 86_400
    quotas.settle(limited, ids[[result is None for result in tries].index(True)], charged=False)
    await quotas.reserve(limited, "other", 40, 0)


async def test_spend_of_the_month_counts_what_the_ledger_has(open_again: Callable[[], Engine]) -> None:
    engine = open_again()
    ledger = Ledger(engine)
    ledger.start()
    spender, _ = KeyStore(engine).create("s", ["embed"], limits=KeyLimits(picodollars_per_month=picodollars("1")))
    day = day_of(now_ms())
    row = LedgerEntry("", spender.id, now_ms(), day, "mini", "/", 0, 0, 0, 0, picodollars("0.9"))
    await ledger.record(replace(row, request_id=new_request_id()))
    await ledger.record(replace(row, request_id=new_request_id(), day="2001-01-01"))
    ledger.close()
    quotas = Quotas(ledger)
    with pytest.raises(ApiError, match=r"\$1 per month \(\$0.9 is spent\)"):
        await quotas.reserve(spender, "a", 0, picodollars("0.2"))
    await quotas.reserve(spender, "b", 0, picodollars("0.1"))
    quotas.settle(spender, "b", charged=True)
    with pytest.raises(ApiError):
        await quotas.reserve(spender, "c", 0, 1)


async def test_what_is_under_way_counts_as_spent(open_again: Callable[[], Engine]) -> None:
    quotas, spender = Quotas(Ledger(open_again())), key(picodollars_per_month=picodollars("1"))
    await quotas.reserve(spender, "a", 0, picodollars("0.6"))
    with pytest.raises(ApiError, match=r"\$0.6 is spent"):
        await quotas.reserve(spender, "b", 0, picodollars("0.6"))
    quotas.settle(spender, "a", charged=False)
    await quotas.reserve(spender, "b", 0, picodollars("0.6"))


async def test_what_was_charged_counts_once_when_the_sums_are_read_again(
    open_again: Callable[[], Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("babelclip.service.metering.quotas.REFRESH_SECONDS", 0.0)
    ledger, limited = Ledger(open_again()), key(tokens_per_day=100)
    ledger.start()
    quotas = Quotas(ledger)
    (name,) = named(1)
    await quotas.reserve(limited, name, 50, 0)
    await ledger.record(LedgerEntry(name, limited.id, 0, day_of(now_ms()), "mini", "/", 50, 0, 0, 0, 0))
    assert await quotas.used(limited) == (50, 0)
    quotas.settle(limited, name, charged=True)
    assert await quotas.used(limited) == (50, 0)
    ledger.close()
    await quotas.reserve(limited, "other", 50, 0)
    with pytest.raises(ApiError):
        await quotas.reserve(limited, "third", 1, 0)


async def test_a_new_day_begins_with_all_of_its_tokens(
    open_again: Callable[[], Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1_778_500_000_000]
    monkeypatch.setattr("babelclip.service.metering.quotas.now_ms", lambda: now[0])
    ledger, limited = Ledger(open_again()), key(tokens_per_day=100)
    ledger.start()
    await ledger.record(LedgerEntry(new_request_id(), limited.id, now[0], day_of(now[0]), "mini", "/", 100, 0, 0, 0, 0))
    ledger.close()
    quotas = Quotas(ledger)
    with pytest.raises(ApiError, match="100 are used"):
        await quotas.reserve(limited, "a", 1, 0)
    now[0] += 86_400_000
    await quotas.reserve(limited, "b", 100, 0)


async def test_what_other_services_wrote_is_seen_when_the_sums_are_old(
    open_again: Callable[[], Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("babelclip.service.metering.quotas.REFRESH_SECONDS", 0.0)
    ledger = Ledger(open_again())
    ledger.start()
    limited = key(tokens_per_day=100)
    quotas = Quotas(ledger)
    await quotas.reserve(limited, "a", 50, 0)
    quotas.settle(limited, "a", charged=False)
    await ledger.record(LedgerEntry(new_request_id(), limited.id, 0, day_of(now_ms()), "mini", "/", 60, 0, 0, 0, 0))
    ledger.close()
    with pytest.raises(ApiError, match="60 are used"):
        await quotas.reserve(limited, "b", 50, 0)


@pytest.mark.slow
@pytest.mark.parametrize("clients", [1, 4, 8, 16, 32])
@pytest.mark.parametrize("limit", [{"tokens_per_day": 600}, {"picodollars_per_month": 1400}])
@pytest.mark.parametrize("refresh_seconds", [0.0, 0.01])
async def test_exactly_what_the_quota_allows_is_answered_by_any_number_of_clients(
    open_again: Callable[[], Engine],
    monkeypatch: pytest.MonkeyPatch,
    clients: int,
    limit: dict[str, int],
    refresh_seconds: float,
) -> None:
    monkeypatch.setattr("babelclip.service.metering.quotas.REFRESH_SECONDS", refresh_seconds)
    ledger = Ledger(open_again())
    ledger.start()
    quotas, limited, day = Quotas(ledger), key(**limit), day_of(now_ms())
    before = [LedgerEntry(name, limited.id, 0, day, "mini", "/", 3, 0, 0, 0, 7) for name in named(100)]
    await asyncio.gather(*map(ledger.record, before))
    answered, seen = 0, []

    async def client(number: int) -> None:
        nonlocal answered
        for turn in range(300 // clients):
            (name,) = named(1)
            try:
                await quotas.reserve(limited, name, 3, 7)
            except ApiError:
                continue
            if turn % 5 == 4 and number % 2:
                # The work failed: nothing is charged.
                quotas.settle(limited, name, charged=False)
                continue
            await ledger.record(LedgerEntry(name, limited.id, 0, day, "mini", "/", 3, 0, 0, 0, 7))
            await asyncio.sleep(0.001 * (number % 3))
            quotas.settle(limited, name, charged=True)
            answered += 1
            seen.append(await quotas.used(limited))

    await asyncio.gather(*map(client, range(clients)))
    while True:
        (name,) = named(1)
        try:
            await quotas.reserve(limited, name, 3, 7)
        except ApiError:
            break
        await ledger.record(LedgerEntry(name, limited.id, 0, day, "mini", "/", 3, 0, 0, 0, 7))
        quotas.settle(limited, name, charged=True)
        answered += 1
    assert answered == 100
    assert all(300 <= tokens <= 600 and 700 <= pico <= 1400 for tokens, pico in seen)
    assert await quotas.used(limited) == (600, 1400)
    (sums,) = ledger.usage([], key_id=limited.id)
    assert (sums.requests, sums.tokens, sums.picodollars) == (200, 600, 1400)
    ledger.close()


async def test_a_row_whose_client_left_while_it_was_written_counts(open_again: Callable[[], Engine]) -> None:
    ledger, limited = Ledger(open_again()), key(tokens_per_day=100)
    ledger.start()
    quotas = Quotas(ledger)
    (name,) = named(1)
    await quotas.reserve(limited, name, 60, 0)
    writing = asyncio.create_task(
        ledger.record(LedgerEntry(name, limited.id, 0, day_of(now_ms()), "mini", "/", 60, 0, 0, 0, 0))
    )
    await asyncio.sleep(0)
    writing.cancel()
    quotas.settle(limited, name, charged=True)
    with pytest.raises(ApiError, match="60 are used"):
        await quotas.reserve(limited, "other", 60, 0)
    ledger.close()


async def test_a_row_that_was_never_written_is_let_go(
    open_again: Callable[[], Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("babelclip.service.metering.quotas.REFRESH_SECONDS", 0.0)
    quotas, limited = Quotas(Ledger(open_again())), key(tokens_per_day=100)
    await quotas.reserve(limited, "a", 60, 0)
    quotas.settle(limited, "a", charged=True)
    assert await quotas.used(limited) == (60, 0)
    monkeypatch.setattr("babelclip.service.metering.quotas.UNWRITTEN_SECONDS", 0.0)
    assert await quotas.used(limited) == (0, 0)
