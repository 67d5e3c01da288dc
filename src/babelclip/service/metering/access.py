"""The desk that every request passes: who is it, may it, is there room, what did it cost."""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from starlette.requests import Request

from babelclip.service.errors import ApiError, unauthorized
from babelclip.service.metering.keys import Accounts, Key, now_ms
from babelclip.service.metering.ledger import Entry, Ledger, day_of
from babelclip.service.metering.prices import Price, dollars, price_of
from babelclip.service.metering.quotas import Quotas, Rates

KEY_SECONDS = 2.0
"""How long a key is remembered: a revoked one may work so long."""
KEYS_REMEMBERED = 10_000


@dataclass(slots=True)
class Visit:
    """A request that was let in: who, and what it has used so far."""

    key: Key
    request_id: str
    route: str
    began: float = field(default_factory=time.perf_counter)
    tokens: int = 0
    images: int = 0
    bytes: int = 0
    pico: int = 0
    charged: bool = False
    """Whether its row was given to the ledger."""


class Desk:
    """Keys, limits and ledger, as a request meets them."""

    def __init__(self, accounts: Accounts, ledger: Ledger, rates: Rates, prices: Mapping[str, Price]) -> None:
        """Join them.

        :param accounts: who may come in
        :param ledger: what was used
        :param rates: how much at once
        :param prices: of prices.read_prices
        """
        self.accounts = accounts
        self.ledger = ledger
        self.rates = rates
        self.quotas = Quotas(ledger)
        self.prices = prices
        self._known: OrderedDict[bytes, tuple[float, Key]] = OrderedDict()

    @asynccontextmanager
    async def visit(self, request: Request, *scopes: str) -> AsyncIterator[Visit]:
        """Let a request in, and let go of what it held if it fails.

        :param request: the request; its body is not read yet
        :param *scopes: any of which will do; none asks for a valid key alone
        :yield: the visit
        :raises ApiError: 401, 403 or 429
        """
        key = await self.key_of(request, *scopes)
        await self.rates.request(key)
        route: str = request.scope["route"].path
        visit = Visit(key, request.scope["state"]["request_id"], route)
        request.scope["state"]["key_id"] = key.id
        try:
            yield visit
        finally:
            self.quotas.settle(key, visit.request_id, charged=visit.charged)

    async def reserve(self, visit: Visit, model: str, *, tokens: int = 0, images: int = 0) -> None:
        """Ask for room before the work is done; once a visit.

        :param visit: whose
        :param model: which it asks
        :param tokens: that the model will read
        :param images: that the model will see
        :raises ApiError: 429, if a limit is reached
        """
        pico = price_of(self.prices, model).of(tokens, images)
        await self.quotas.reserve(visit.key, visit.request_id, tokens, pico)
        visit.tokens, visit.images, visit.pico = tokens, images, pico
        await self.rates.tokens(visit.key, tokens)

    async def charge(self, visit: Visit, model: str) -> dict[str, str]:
        """Write what was reserved into the ledger; the answer may leave afterwards.

        :param visit: whose
        :param model: which it asked
        :return: headers that say what it cost
        :raises StoreError: if the ledger cannot be written
        """
        milliseconds = round((time.perf_counter() - visit.began) * 1000)
        at = now_ms()
        # Set before the row is written: if the client leaves meanwhile, the row may be there all the same.
        visit.charged = True
        await self.ledger.record(
            Entry(
                request_id=visit.request_id,
                key_id=visit.key.id,
                at_ms=at,
                day=day_of(at),
                model=model,
                route=visit.route,
                tokens=visit.tokens,
                images=visit.images,
                bytes=visit.bytes,
                milliseconds=milliseconds,
                picodollars=visit.pico,
            )
        )
        return {"x-cost-usd": dollars(visit.pico), "x-processing-ms": str(milliseconds)}

    async def key_of(self, request: Request, *scopes: str) -> Key:
        """Whose request it is.

        :param request: with ``Authorization: Bearer KEY``
        :param *scopes: any of which will do; none asks for a valid key alone
        :return: an active key
        :raises ApiError: 401, or 403 where it has none of the scopes
        """
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        secret = secret.strip()
        if scheme.casefold() != "bearer" or not secret:
            raise unauthorized("there is no key: send the header Authorization: Bearer KEY", "missing_api_key")
        key = await self._find(secret)
        if key is None:
            raise unauthorized("this key is not known")
        if key.state != "active":
            raise unauthorized(f"this key is {key.state}", f"{key.state}_api_key")
        if scopes and not set(scopes) & set(key.scopes):
            message = f"this key may {', '.join(key.scopes)}, but not {' or '.join(scopes)}"
            raise ApiError(403, message, kind="permission_error", code="insufficient_scope")
        return key

    async def _find(self, secret: str) -> Key | None:
        """A key, remembered for a moment."""
        digest = hashlib.sha256(secret.encode()).digest()
        known = self._known.get(digest)
        if known is not None and time.monotonic() - known[0] < KEY_SECONDS:
            return known[1]
        key = await asyncio.to_thread(self.accounts.find, secret)
        if key is None:
            self._known.pop(digest, None)
            return None
        self._known[digest] = (time.monotonic(), key)
        self._known.move_to_end(digest)
        if len(self._known) > KEYS_REMEMBERED:
            self._known.popitem(last=False)
        return key
