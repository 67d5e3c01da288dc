"""Access control: authenticate the API key of a request and check its scopes."""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Mapping

from starlette.requests import Request

from babelclip.service.errors import ApiError, unauthorized
from babelclip.service.metering.keys import Key, KeyStore
from babelclip.service.metering.ledger import Ledger
from babelclip.service.metering.prices import Price
from babelclip.service.metering.quotas import Quotas, RateLimiter

KEY_SECONDS = 2.0
"""Lifetime of a key in the cache: a revoked key may be accepted for this long."""
MAX_CACHED_KEYS = 10_000


class AccessControl:
    """API keys, rate limits, quotas and prices, as requests are checked against them."""

    def __init__(self, keys: KeyStore, ledger: Ledger, rate_limiter: RateLimiter, prices: Mapping[str, Price]) -> None:
        """Combine the stores.

        :param keys: the API keys
        :param ledger: the ledger, whose sums quotas are checked against
        :param rate_limiter: the rate limits
        :param prices: the prices, from prices.read_prices
        """
        self.keys = keys
        self.rate_limiter = rate_limiter
        self.quotas = Quotas(ledger)
        self.prices = prices
        self._cache: OrderedDict[bytes, tuple[float, Key]] = OrderedDict()

    async def authenticate(self, request: Request, *scopes: str) -> Key:
        """Authenticate a request and check the scopes of its key.

        :param request: a request with ``Authorization: Bearer KEY``
        :param *scopes: scopes of which the key needs at least one; without any, a valid key is enough
        :return: an active key
        :raises ApiError: 401, or 403 if the key has none of the scopes
        """
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        secret = secret.strip()
        if scheme.casefold() != "bearer" or not secret:
            raise unauthorized("no API key was sent; send the header Authorization: Bearer KEY", "missing_api_key")
        key = await self._find(secret)
        if key is None:
            raise unauthorized("the API key is unknown")
        if key.state != "active":
            raise unauthorized(f"the API key is {key.state}", f"{key.state}_api_key")
        if scopes and not set(scopes) & set(key.scopes):
            message = f"the API key has the scopes {', '.join(key.scopes)}; this request needs {' or '.join(scopes)}"
            raise ApiError(403, message, kind="permission_error", code="insufficient_scope")
        return key

    async def _find(self, secret: str) -> Key | None:
        """The key of a secret, from the cache or the database."""
        digest = hashlib.sha256(secret.encode()).digest()
        cached = self._cache.get(digest)
        if cached is not None and time.monotonic() - cached[0] < KEY_SECONDS:
            return cached[1]
        key = await asyncio.to_thread(self.keys.find, secret)
        if key is None:
            self._cache.pop(digest, None)
            return None
        self._cache[digest] = (time.monotonic(), key)
        self._cache.move_to_end(digest)
        if len(self._cache) > MAX_CACHED_KEYS:
            self._cache.popitem(last=False)
        return key
