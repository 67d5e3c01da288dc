"""Limits of API keys: requests and tokens a minute (memory or Redis), tokens a day and dollars a month (ledger).

Rate limits are sliding windows of the ``limits`` library. Quotas are sums of the ledger, plus the requests of this
service that these sums do not include, each by its id: a single service never exceeds a quota and never refuses below
it. Several services see each other's entries at most REFRESH_SECONDS late, and may exceed a quota by what they answer
in that time.
"""

import asyncio
import math
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.aio.storage import Storage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.storage import storage_from_string

from babelclip.errors import InputError, StoreError
from babelclip.extras import importing
from babelclip.service.errors import ApiError, too_many
from babelclip.service.metering.keys import Key, now_ms
from babelclip.service.metering.ledger import Ledger, day_of
from babelclip.service.metering.prices import dollars

REDIS_SECONDS = 2.0
"""Timeout of Redis."""
REFRESH_SECONDS = 2.0
"""Lifetime of sums of the ledger."""
UNWRITTEN_SECONDS = 60.0
"""Time after which an entry that is in no sum is taken as never written."""


class RateLimiter:
    """Rate limits: requests and tokens per minute, by key."""

    def __init__(self, url: str) -> None:
        """Connect to a store.

        :param url: ``memory://``, ``redis://HOST:PORT/0`` or ``rediss://...``
        :raises InputError: if the URL is invalid
        :raises MissingDependencyError: if the client of Redis is not installed
        """
        if url != "memory://" and not url.startswith(("redis://", "rediss://", "redis+unix://")):
            # The URL may hold a password, and is not repeated.
            raise InputError("BABELCLIP_LIMITS_URL is neither memory:// nor of the form redis://HOST:6379/0")
        self._pool = None if url == "memory://" else _redis_pool(url)
        options: dict[str, Any] = {}
        if self._pool is not None:
            options = {"implementation": "redispy", "connection_pool": self._pool}
        storage = storage_from_string(f"async+{url}", **options)
        self._storage = cast("Storage", storage)
        self._limiter = SlidingWindowCounterRateLimiter(self._storage)

    async def close(self) -> None:
        """Close the connections."""
        if self._pool is not None:
            await self._pool.disconnect()

    async def is_available(self) -> bool:
        """Tell whether the store responds.

        :return: True if it does
        """
        try:
            return bool(await self._storage.check())
        except Exception:  # each client of a store has its own errors
            return False

    async def count_request(self, key: Key) -> None:
        """Count a request.

        :param key: the key of the request
        :raises ApiError: 429, if it is over the limit of the key
        :raises StoreError: if the store does not respond
        """
        if key.limits.requests_per_minute is not None:
            await self._hit(key.limits.requests_per_minute, key, "requests", 1)

    async def count_tokens(self, key: Key, count: int) -> None:
        """Count tokens.

        :param key: the key of the request
        :param count: number of tokens
        :raises ApiError: 429, if they are over the limit of the key; 400, if one request may never have this many
        :raises StoreError: if the store does not respond
        """
        limit = key.limits.tokens_per_minute
        if limit is None or count == 0:
            return
        if count > limit:
            message = f"the request has {count} tokens, over this key's limit of {limit} per minute; split the request"
            raise ApiError(400, message, code="request_too_large")
        await self._hit(limit, key, "tokens", count)

    async def _hit(self, limit: int, key: Key, what: str, cost: int) -> None:
        item = RateLimitItemPerMinute(limit)
        try:
            if await self._limiter.hit(item, key.id, what, cost=cost):
                return
            retry = await self._retry_seconds(item, key, what)
        except Exception as error:  # each client of a store has its own errors
            raise StoreError(f"the store of rate limits: {type(error).__name__}") from None
        raise too_many(f"over this key's limit of {limit} {what} per minute", retry, "rate_limit_exceeded")

    async def _retry_seconds(self, item: RateLimitItem, key: Key, what: str) -> int:
        stats = await self._limiter.get_window_stats(item, key.id, what)
        return max(1, math.ceil(stats.reset_time - time.time()))


def _redis_pool(url: str) -> Any:
    """A connection pool with short timeouts."""
    with importing("redis"):
        from redis.asyncio import ConnectionPool
    plain = url.replace("redis+unix://", "unix://")
    return ConnectionPool.from_url(plain, socket_timeout=REDIS_SECONDS, socket_connect_timeout=REDIS_SECONDS)


@dataclass(slots=True)
class _KeyUsage:
    """What a key has used: the ledger's sums when they were last read, and the requests that they do not include."""

    day: str = ""
    tokens: int = 0
    pico: int = 0
    read_at: float = -math.inf
    reserved: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Tokens and picodollars of requests under way."""
    settled: dict[str, tuple[int, int, float]] = field(default_factory=dict)
    """The same of requests that were charged, and when; their rows are not in the sums yet."""
    reading: "asyncio.Task[None] | None" = None

    def used(self) -> tuple[int, int]:
        """Tokens of the day and picodollars of the month, with all that is under way.

        What is under way at midnight is counted on the new day, as its row will be.
        """
        apart = [*self.reserved.values(), *(row[:2] for row in self.settled.values())]
        return self.tokens + sum(tokens for tokens, _ in apart), self.pico + sum(pico for _, pico in apart)


class Quotas:
    """Tokens a day and spend a month, by key. One event loop uses it."""

    def __init__(self, ledger: Ledger) -> None:
        """Count by a ledger.

        :param ledger: the ledger
        """
        self._ledger = ledger
        self._usages: dict[str, _KeyUsage] = {}

    async def reserve(self, key: Key, request_id: str, tokens: int, pico: int) -> None:
        """Hold what a request will use, until ``settle``.

        :param key: the key that pays
        :param request_id: of the request; its row in the ledger has the same
        :param tokens: that the model will read
        :param pico: what they will cost, in picodollars
        :raises ApiError: 429, if the key's quota has no room for it
        :raises StoreError: if the ledger cannot be read
        """
        if not _has_quota(key):
            return
        usage = await self._current(key)
        # From here to the end nothing awaits: what was compared is what is reserved.
        used, spent = usage.used()
        limits = key.limits
        if limits.tokens_per_day is not None and used + tokens > limits.tokens_per_day:
            message = (
                f"{tokens} more tokens are over this key's quota of {limits.tokens_per_day} per day ({used} are used)"
            )
            raise too_many(message, _seconds_to(_next_day()), "insufficient_quota")
        if limits.picodollars_per_month is not None and spent + pico > limits.picodollars_per_month:
            most = dollars(limits.picodollars_per_month)
            message = (
                f"${dollars(pico)} more is over this key's quota of ${most} per month (${dollars(spent)} is spent)"
            )
            raise too_many(message, _seconds_to(_next_month()), "insufficient_quota")
        usage.reserved[request_id] = (tokens, pico)

    def settle(self, key: Key, request_id: str, *, charged: bool) -> None:
        """End what ``reserve`` began.

        :param key: the key that pays
        :param request_id: of the request
        :param charged: whether the ledger has its row, or may have it: the next reading of the sums tells
        """
        usage = self._usages.get(key.id)
        amount = usage.reserved.pop(request_id, None) if usage is not None else None
        if usage is not None and amount is not None and charged:
            usage.settled[request_id] = (*amount, time.monotonic())

    async def used(self, key: Key) -> tuple[int, int]:
        """Read what a key with a quota has used, with what is under way here.

        :param key: the key
        :return: tokens of today, picodollars of this month
        :raises StoreError: if the ledger cannot be read
        """
        return (await self._current(key)).used()

    async def _current(self, key: Key) -> _KeyUsage:
        """The usage of a key, whose sums are at most REFRESH_SECONDS old and of today."""
        usage = self._usages.setdefault(key.id, _KeyUsage())
        # One reading at a time: two that overlap could each take the same rows for new ones. Reservations wait for it,
        # so that every request that may be in the sums is among those that it asks about.
        has_waited = False
        while usage.reading is not None or not (has_waited or _is_fresh(usage)):
            if usage.reading is None:
                usage.reading = asyncio.create_task(self._read(key, usage))
            await asyncio.shield(usage.reading)
            has_waited = True
        return usage

    async def _read(self, key: Key, usage: _KeyUsage) -> None:
        """Read the sums, and drop the requests that they include."""
        try:
            today, began = day_of(now_ms()), time.monotonic()
            asked = [*usage.reserved, *usage.settled]
            sums = await asyncio.to_thread(self._ledger.spent, key.id, today, asked)
            usage.day, usage.tokens, usage.pico, usage.read_at = today, sums.tokens, sums.picodollars, began
            for request_id in sums.request_ids:
                usage.reserved.pop(request_id, None)
            usage.settled = {
                request_id: row
                for request_id, row in usage.settled.items()
                if request_id not in sums.request_ids and began - row[2] < UNWRITTEN_SECONDS
            }
        finally:
            usage.reading = None


def _is_fresh(usage: _KeyUsage) -> bool:
    """Whether the sums of an usage can be used."""
    return usage.day == day_of(now_ms()) and time.monotonic() - usage.read_at < REFRESH_SECONDS


def _has_quota(key: Key) -> bool:
    return key.limits.tokens_per_day is not None or key.limits.picodollars_per_month is not None


def _next_day() -> datetime:
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)


def _next_month() -> datetime:
    return (_next_day().replace(day=1) + timedelta(days=32)).replace(day=1)


def _seconds_to(moment: datetime) -> int:
    return max(1, math.ceil((moment - datetime.now(UTC)).total_seconds()))
