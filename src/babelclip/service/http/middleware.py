"""What stands around a request: a name for it, bounds of its body, headers, a line in the log, no bare error."""

import asyncio
import logging
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from babelclip.service.errors import ApiError, as_api_error
from babelclip.service.http.metrics import Metrics
from babelclip.service.request_id import new_request_id

LOG = logging.getLogger("babelclip.service")
BODY_SECONDS = 30.0
"""Within which a body must have come."""
CLIENT_LEFT = 499
"""In the log, of a client that did not wait; no answer is sent."""
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", CSP.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)
NOT_KEPT = (b"cache-control", b"no-store")
"""Of answers to POST."""
FULL = "there are as many connections as the service takes; try again, or use fewer"
ENDING = "the service is ending; another takes over"
FULL_HEADERS = {"retry-after": "1", "connection": "close"}

Result = TypeVar("Result")


class Guard:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, *, max_body_bytes: int, metrics: Metrics) -> None:
        """Stand around an application.

        :param app: the application
        :param max_body_bytes: of a request
        :param metrics: what is counted
        """
        self._app = app
        self._limit = max_body_bytes
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection's request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        request_id = state["request_id"] = new_request_id()
        began = time.perf_counter()
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                given = {name for name, _ in message["headers"]}
                own = (*HEADERS, NOT_KEPT) if scope["method"] == "POST" else HEADERS
                message["headers"] = [
                    *message["headers"],
                    (b"x-request-id", request_id.encode()),
                    *(pair for pair in own if pair[0] not in given),
                ]
            await send(message)

        with self._metrics.in_flight.track_inprogress():
            try:
                if state.get("full"):
                    raise ApiError(503, FULL, kind="server_error", code="overloaded", headers=FULL_HEADERS)
                await self._app(scope, _bounded(receive, scope, self._limit), answer)
            except (ClientLeftError, ClientDisconnect):
                status = CLIENT_LEFT
            # The last stop: nothing leaves here but an envelope. The server cancels what it has no more time for.
            except (Exception, asyncio.CancelledError) as error:
                if isinstance(error, asyncio.CancelledError):
                    error = ApiError(503, ENDING, kind="server_error", code="overloaded", headers=FULL_HEADERS)
                if status == 0:
                    await as_api_error(error, request_id).response()(scope, receive, answer)
        seconds = time.perf_counter() - began
        route = getattr(scope.get("route"), "path", "none")
        self._metrics.answered(route, scope["method"], status, seconds)
        LOG.info(
            "%s %s %s %d %.1fms key=%s",
            request_id,
            scope["method"],
            route,
            status,
            seconds * 1000,
            state.get("key_id", "-"),
        )


class ClientLeftError(Exception):
    """The client did not wait for its answer."""


def _bounded(receive: Receive, scope: Scope, limit: int) -> Receive:
    """A body that ends with an error where it is too long or too slow, before it is in memory."""
    close = {"connection": "close"}
    stated = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    deadline = time.monotonic() + BODY_SECONDS
    taken = 0
    whole = False

    async def bounded() -> Message:
        nonlocal taken, whole
        if whole:
            return await receive()
        if (int(stated) if stated.isdigit() else 0) > limit:
            raise ApiError(413, _too_long(int(stated), limit), code="body_too_large", headers=close)
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                message = await receive()
        except TimeoutError:
            message_text = f"the body did not come within {BODY_SECONDS:.0f} seconds"
            raise ApiError(408, message_text, code="body_too_slow", headers=close) from None
        if message["type"] == "http.request":
            taken += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if taken > limit:
                raise ApiError(413, _too_long(taken, limit), code="body_too_large", headers=close)
        return message

    return bounded


def _too_long(size: int, limit: int) -> str:
    return f"the body has {size} bytes or more, over the limit of {limit}; send it in parts"


async def while_there(request: Request, work: Coroutine[Any, Any, Result], seconds: float) -> Result:
    """Do something for as long as the client waits for it; when it leaves, the work is cancelled.

    :param request: the client's, whose body was read
    :param work: what to do
    :param seconds: how long it may take
    :return: what the work gave
    :raises ClientLeftError: if the client left
    :raises ApiError: 503, if it took too long
    """
    here = asyncio.current_task()
    leaving = asyncio.ensure_future(_left(request))
    left = False

    def leave(watch: "asyncio.Task[None]") -> None:
        nonlocal left
        if here is not None and not watch.cancelled():
            left = here.cancel()

    leaving.add_done_callback(leave)
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError:
        message = f"the request was not done within {seconds:.0f} seconds, and nothing was charged; send fewer at once"
        headers = {"retry-after": "1"}
        raise ApiError(503, message, kind="server_error", code="deadline_exceeded", headers=headers) from None
    except asyncio.CancelledError:
        if left and here is not None and here.uncancel() == 0:
            raise ClientLeftError from None
        raise
    finally:
        leaving.remove_done_callback(leave)
        leaving.cancel()


async def _left(request: Request) -> None:
    """Return when the client is gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
