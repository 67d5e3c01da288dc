"""The authenticated request: admission, parsing, quota reservation, execution and charge."""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from babelclip.service.errors import ApiError
from babelclip.service.metering.keys import Key, now_ms
from babelclip.service.metering.ledger import LedgerEntry, day_of
from babelclip.service.metering.prices import dollars, price_of
from babelclip.service.schemas.requests import SchemaT, parse_json
from babelclip.service.state import Service, service_of

TRUNCATED = "x-truncated-inputs"

Result = TypeVar("Result")


class RequestContext:
    """An authenticated request and its measured usage: call ``reserve``, then ``run``, then ``charge``."""

    def __init__(self, service: Service, request: Request, key: Key) -> None:
        """Create the context of a request; see ``admit``.

        :param service: the service that answers
        :param request: the request
        :param key: the authenticated API key
        """
        self.service = service
        self.request = request
        self.key = key
        self.request_id: str = request.scope["state"]["request_id"]
        self.route: str = request.scope["route"].path
        self.started = time.perf_counter()
        self.tokens = self.images = self.body_bytes = self.picodollars = 0
        self.charged = False

    async def read_body(self) -> bytes:
        """Read the request body and count its size.

        :return: the body
        """
        body = await self.request.body()
        self.body_bytes = len(body)
        return body

    async def read(self, schema: type[SchemaT]) -> SchemaT:
        """Read and parse the JSON body.

        :param schema: schema of the body
        :return: the parsed body
        :raises ApiError: 400, if it does not match the schema; 415, if it is not JSON
        """
        header = self.request.headers.get("content-type", "application/json")
        content_type = header.partition(";")[0].strip().casefold()
        if content_type != "application/json" and not content_type.endswith("+json"):
            message = f"the body must be application/json, not {content_type[:80]!r}"
            raise ApiError(415, message, code="unsupported_media_type")
        return parse_json(await self.read_body(), schema)

    async def reserve(self, model: str, *, tokens: int, images: int) -> None:
        """Reserve quota and count tokens against the rate limit, before the model runs; once per request.

        :param model: name of the model
        :param tokens: tokens that the model will read
        :param images: images that the model will encode
        :raises ApiError: 429, if a limit is reached
        """
        access = self.service.access
        picodollars = price_of(access.prices, model).of(tokens, images)
        await access.quotas.reserve(self.key, self.request_id, tokens, picodollars)
        self.tokens, self.images, self.picodollars = tokens, images, picodollars
        await access.rate_limiter.count_tokens(self.key, tokens)

    async def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run the work of the request while the client is connected.

        :param work: the coroutine
        :return: its result
        """
        return await run_while_connected(self.request, work, self.service.settings.request_seconds)

    async def charge(self, model: str, response: Response, *, truncated: int = 0) -> Response:
        """Commit the ledger entry of what was reserved, and add cost and time to the response headers.

        :param model: name of the model
        :param response: the response of a request that succeeded
        :param truncated: number of truncated inputs
        :return: the same response
        :raises StoreError: if the ledger cannot be written
        """
        milliseconds = round((time.perf_counter() - self.started) * 1000)
        at = now_ms()
        # Set before the entry is committed: if the client disconnects meanwhile, it may be in the ledger all the same.
        self.charged = True
        entry = LedgerEntry(
            request_id=self.request_id,
            key_id=self.key.id,
            at_ms=at,
            day=day_of(at),
            model=model,
            route=self.route,
            tokens=self.tokens,
            images=self.images,
            bytes=self.body_bytes,
            milliseconds=milliseconds,
            picodollars=self.picodollars,
        )
        await self.service.ledger.record(entry)
        self.service.metrics.count_charge(model, self.tokens, self.images)
        response.headers["x-cost-usd"] = dollars(self.picodollars)
        response.headers["x-processing-ms"] = str(milliseconds)
        if truncated:
            response.headers[TRUNCATED] = str(truncated)
        return response


@asynccontextmanager
async def admit(request: Request, *scopes: str) -> AsyncIterator[RequestContext]:
    """Authenticate a request and count it against the rate limit; release its reservation at the end.

    :param request: the request, whose body is not read yet
    :param *scopes: scopes of which the key needs at least one; without any, a valid key is enough
    :yield: the context of the request
    :raises ApiError: 401, 403 or 429
    """
    service = service_of(request)
    access = service.access
    key = await access.authenticate(request, *scopes)
    await access.rate_limiter.count_request(key)
    context = RequestContext(service, request, key)
    request.scope["state"]["key_id"] = key.id
    try:
        yield context
    finally:
        access.quotas.settle(key, context.request_id, charged=context.charged)


async def run_while_connected(request: Request, work: Coroutine[Any, Any, Result], seconds: float) -> Result:
    """Run a coroutine as long as the client is connected; cancel it when the client disconnects.

    :param request: the request of the client, whose body was read
    :param work: the coroutine
    :param seconds: the time limit
    :return: the result of the coroutine
    :raises ClientDisconnect: if the client disconnected
    :raises ApiError: 503, if the time limit is reached
    """
    task = asyncio.current_task()
    watch = asyncio.ensure_future(_wait_for_disconnect(request))
    disconnected = False

    def cancel(watch: "asyncio.Task[None]") -> None:
        nonlocal disconnected
        if task is not None and not watch.cancelled():
            disconnected = task.cancel()

    watch.add_done_callback(cancel)
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError:
        message = f"the request took longer than {seconds:.0f} seconds; nothing was charged; send fewer inputs at once"
        headers = {"retry-after": "1"}
        raise ApiError(503, message, kind="server_error", code="deadline_exceeded", headers=headers) from None
    except asyncio.CancelledError:
        if disconnected and task is not None and task.uncancel() == 0:
            raise ClientDisconnect from None
        raise
    finally:
        watch.remove_done_callback(cancel)
        watch.cancel()


async def _wait_for_disconnect(request: Request) -> None:
    """Return when the client has disconnected."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
