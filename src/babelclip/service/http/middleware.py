"""Middleware: request id, limits on the body, security headers, access log, and the last error handler."""

import asyncio
import logging
import time

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from babelclip.service.errors import ApiError, as_api_error
from babelclip.service.http.metrics import Metrics
from babelclip.service.request_id import new_request_id

LOG = logging.getLogger("babelclip.service")
BODY_SECONDS = 30.0
"""Time limit for receiving a request body."""
CLIENT_DISCONNECTED = 499
"""Status in the log for a client that disconnected; no response is sent."""
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS = (
    (b"content-security-policy", CSP.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)
NO_STORE = (b"cache-control", b"no-store")
"""Header of responses to POST."""
OVERLOADED = "the service has reached its connection limit; try again, or use fewer connections"
SHUTTING_DOWN = "the service is shutting down; try again"
OVERLOADED_HEADERS = {"retry-after": "1", "connection": "close"}


class RequestMiddleware:
    """ASGI middleware around every request."""

    def __init__(self, app: ASGIApp, *, max_body_bytes: int, metrics: Metrics) -> None:
        """Wrap an application.

        :param app: the application
        :param max_body_bytes: size limit of a request body
        :param metrics: the metrics that requests are counted in
        """
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        request_id = state["request_id"] = new_request_id()
        started = time.perf_counter()
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                present = {name for name, _ in message["headers"]}
                defaults = (*SECURITY_HEADERS, NO_STORE) if scope["method"] == "POST" else SECURITY_HEADERS
                message["headers"] = [
                    *message["headers"],
                    (b"x-request-id", request_id.encode()),
                    *(header for header in defaults if header[0] not in present),
                ]
            await send(message)

        with self._metrics.in_flight.track_inprogress():
            try:
                if state.get("full"):
                    raise ApiError(503, OVERLOADED, kind="server_error", code="overloaded", headers=OVERLOADED_HEADERS)
                await self._app(scope, _limited(receive, scope, self._max_body_bytes), send_with_headers)
            except ClientDisconnect:
                status = CLIENT_DISCONNECTED
            # The last handler: every error becomes an envelope. The server cancels requests that outlast its shutdown.
            except (Exception, asyncio.CancelledError) as error:
                if isinstance(error, asyncio.CancelledError):
                    headers = OVERLOADED_HEADERS
                    error = ApiError(503, SHUTTING_DOWN, kind="server_error", code="overloaded", headers=headers)
                if status == 0:
                    await as_api_error(error, request_id).response()(scope, receive, send_with_headers)
        seconds = time.perf_counter() - started
        route = getattr(scope.get("route"), "path", "none")
        self._metrics.count_response(route, scope["method"], status, seconds)
        LOG.info(
            "%s %s %s %d %.1fms key=%s",
            request_id,
            scope["method"],
            route,
            status,
            seconds * 1000,
            state.get("key_id", "-"),
        )


def _limited(receive: Receive, scope: Scope, limit: int) -> Receive:
    """A body that raises an error if it is too large or too slow, before it is in memory."""
    close = {"connection": "close"}
    stated = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    deadline = time.monotonic() + BODY_SECONDS
    received = 0
    complete = False

    async def limited() -> Message:
        nonlocal received, complete
        if complete:
            return await receive()
        if (int(stated) if stated.isdigit() else 0) > limit:
            raise ApiError(413, _too_large(int(stated), limit), code="body_too_large", headers=close)
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                message = await receive()
        except TimeoutError:
            message_text = f"the body was not received within {BODY_SECONDS:.0f} seconds"
            raise ApiError(408, message_text, code="body_too_slow", headers=close) from None
        if message["type"] == "http.request":
            received += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if received > limit:
                raise ApiError(413, _too_large(received, limit), code="body_too_large", headers=close)
        return message

    return limited


def _too_large(size: int, limit: int) -> str:
    return f"the body has at least {size} bytes, over the limit of {limit}; split the request"
