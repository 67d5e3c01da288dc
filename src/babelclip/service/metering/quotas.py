"""What a key may use: requests and tokens a minute (memory or Redis), tokens a day and spend a month (ledger).

Rates are sliding windows of the ``limits`` library. Quotas are sums of the ledger, plus what is under way here: one
service never passes them. Several see each other's rows two seconds late at most, and may pass a quota by that.
"""

import asyncio
import math
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.aio.storage import Storage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.storage import storage_from_string

from babelclip.errors import InputError, MissingDependencyError, StoreError
from babelclip.service.errors import ApiError, too_many
from babelclip.service.metering.keys import Key, now_ms
from babelclip.service.metering.ledger import Ledger, day_of, month_start
from babelclip.service.metering.prices import dollars

REDIS_SECONDS = 2.0
"""How long Redis may take to answer."""
REFRESH_SECONDS = 2.0
"""How old a sum of the ledger may be."""


class Rates:
    """Requests and tokens a minute, by key."""

    def __init__(self, url: str) -> None:
        """Use a store.

        :param url: ``memory://``, ``redis://HOST:PORT/0`` or ``rediss://...``
        :raises InputError: if it is no such URL
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

    async def check(self) -> bool:
        """Whether the store answers.

        :return: True if it does
        """
        try:
            return bool(await self._storage.check())
        except Exception:  # each client of a store has its own errors
            return False

    async def request(self, key: Key) -> None:
        """Count a request.

        :param key: whose
        :raises ApiError: 429, if it is over the key's limit
        :raises StoreError: if the store does not answer
        """
        if key.limits.requests_per_minute is not None:
            await self._hit(key.limits.requests_per_minute, key, "requests", 1)

    async def tokens(self, key: Key, count: int) -> None:
        """Count tokens.

        :param key: whose
        :param count: how many
        :raises ApiError: 429, if they are over the key's limit; 400, if they always will be
        :raises StoreError: if the store does not answer
        """
        limit = key.limits.tokens_per_minute
        if limit is None or count == 0:
            return
        if count > limit:
            message = f"the request has {count} tokens, over this key's limit of {limit} a minute; send it in parts"
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
        raise too_many(f"over this key's limit of {limit} {what} a minute", retry, "rate_limit_exceeded")

    async def _retry_seconds(self, item: RateLimitItem, key: Key, what: str) -> int:
        stats = await self._limiter.get_window_stats(item, key.id, what)
        return max(1, math.ceil(stats.reset_time - time.time()))


def _redis_pool(url: str) -> Any:
    """Connections to Redis that do not wait for long."""
    try:
        from redis.asyncio import ConnectionPool
    except ImportError:
        raise MissingDependencyError("redis", "redis") from None
    plain = url.replace("redis+unix://", "unix://")
    return ConnectionPool.from_url(plain, socket_timeout=REDIS_SECONDS, socket_connect_timeout=REDIS_SECONDS)


@dataclass(slots=True)
class _Spent:
    """What a key has used: by the ledger, by rows written since it was read, and by requests under way."""

    day: str = ""
    tokens: int = 0
    pico: int = 0
    tokens_since: int = 0
    pico_since: int = 0
    tokens_under_way: int = 0
    pico_under_way: int = 0
    read_at: float = -math.inf


class Quotas:
    """Tokens a day and spend a month, by key."""

    def __init__(self, ledger: Ledger) -> None:
        """Count by a ledger.

        :param ledger: the ledger
        """
        self._ledger = ledger
        self._spent: dict[str, _Spent] = {}

    async def reserve(self, key: Key, tokens: int, pico: int) -> None:
        """Hold what a request will use, until ``settle``.

        :param key: whose
        :param tokens: that the model will read
        :param pico: what they will cost
        :raises ApiError: 429, if the key's quota has no room for it
        :raises StoreError: if the ledger cannot be read
        """
        if not _has_quota(key):
            return
        spent = await self._fresh(key)
        limits = key.limits
        used = spent.tokens + spent.tokens_since + spent.tokens_under_way
        if limits.tokens_per_day is not None and used + tokens > limits.tokens_per_day:
            message = f"{tokens} more tokens are over this key's {limits.tokens_per_day} a day ({used} are used)"
            raise too_many(message, _seconds_to(_next_day()), "insufficient_quota")
        cost = spent.pico + spent.pico_since + spent.pico_under_way
        if limits.picodollars_per_month is not None and cost + pico > limits.picodollars_per_month:
            most = dollars(limits.picodollars_per_month)
            message = f"${dollars(pico)} more is over this key's ${most} a month (${dollars(cost)} is spent)"
            raise too_many(message, _seconds_to(_next_month()), "insufficient_quota")
        spent.tokens_under_way += tokens
        spent.pico_under_way += pico

    def settle(self, key: Key, tokens: int, pico: int, *, charged: bool) -> None:
        """End what ``reserve`` began.

        :param key: whose
        :param tokens: as they were reserved
        :param pico: as it was reserved
        :param charged: whether the ledger has it
        """
        spent = self._spent.get(key.id)
        if spent is None or not _has_quota(key):
            return
        spent.tokens_under_way = max(0, spent.tokens_under_way - tokens)
        spent.pico_under_way = max(0, spent.pico_under_way - pico)
        if charged:
            spent.tokens_since += tokens
            spent.pico_since += pico

    async def _fresh(self, key: Key) -> _Spent:
        """What a key has used, read anew where it is old or of yesterday."""
        spent = self._spent.setdefault(key.id, _Spent())
        today = day_of(now_ms())
        if spent.day == today and time.monotonic() - spent.read_at < REFRESH_SECONDS:
            return spent
        # Rows that are written while the sums are read may be counted twice until the next reading, never missed.
        began, tokens_before, pico_before = time.monotonic(), spent.tokens_since, spent.pico_since
        month = await asyncio.to_thread(self._ledger.usage, ["day"], since=month_start(today), key_id=key.id)
        if spent.read_at < began:
            spent.tokens = sum(row.tokens for row in month if row.day == today)
            spent.pico = sum(row.picodollars for row in month)
            spent.tokens_since -= tokens_before
            spent.pico_since -= pico_before
            spent.day, spent.read_at = today, began
        return spent


def _has_quota(key: Key) -> bool:
    return key.limits.tokens_per_day is not None or key.limits.picodollars_per_month is not None


def _next_day() -> datetime:
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)


def _next_month() -> datetime:
    return (_next_day().replace(day=1) + timedelta(days=32)).replace(day=1)


def _seconds_to(moment: datetime) -> int:
    return max(1, math.ceil((moment - datetime.now(UTC)).total_seconds()))
