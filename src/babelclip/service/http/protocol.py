"""HTTP protocol: uvicorn's, with limits on what a client can do before a request reaches the application.

uvicorn has no limits on the time and size of headers, and none on a client that does not read its response. Its own
errors are plain text; here they have the error envelope of the service.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from babelclip.service.errors import ApiError

HEAD_SECONDS = 15.0
"""Time limit for receiving the headers of a request."""
MAX_HEAD_BYTES = 65_536
REST_SECONDS = 30.0
"""Time limit for receiving the rest of a body after its request was answered."""
RESPONSE_SECONDS = 30.0
"""Time within which a client must read some of its response."""
STATUS_LINES = {400: b"HTTP/1.1 400 Bad Request", 408: b"HTTP/1.1 408 Request Timeout", 431: b"HTTP/1.1 431 Too Large"}


class BoundedConnection(HttpToolsProtocol):
    """A connection of one client, for ``uvicorn.Config(http=...)``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Create a connection, with uvicorn's arguments."""
        super().__init__(*args, **kwargs)
        # The middleware answers clients over the limit.
        self._max_connections, self.limit_concurrency = self.limit_concurrency, None
        self._timer: asyncio.TimerHandle | None = None
        self._in_head, self._in_body, self._head_bytes = True, False, 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for headers."""
        super().connection_made(transport)
        self._start_timer(HEAD_SECONDS, self._headers_timed_out)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all timers."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Receive a part of the headers or body."""
        super().data_received(data)
        if self.transport.is_closing():
            return
        if not self._in_head:
            self._head_bytes = 0
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            message = f"the headers have at least {self._head_bytes} bytes, over the limit of {MAX_HEAD_BYTES}"
            self._refuse(ApiError(431, message, code="headers_too_large"))
        elif self._timer is None:
            self._start_timer(HEAD_SECONDS, self._headers_timed_out)

    def on_message_begin(self) -> None:
        """Start receiving headers."""
        super().on_message_begin()
        self._in_head = True

    def on_headers_complete(self) -> None:
        """Stop the timer: the headers are complete."""
        self._in_head, self._in_body = False, True
        self._stop_timer()
        limit = self._max_connections
        self.scope["state"]["full"] = limit is not None and len(self.connections) > limit
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Stop the timer: the body is complete."""
        self._in_body = False
        self._stop_timer()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Limit the time for the rest of the body and for reading the response."""
        super().on_response_complete()
        if self._in_body:
            self._start_timer(REST_SECONDS, self.transport.abort)
        if size := self.transport.get_write_buffer_size():
            self.loop.call_later(RESPONSE_SECONDS, self._check_progress, size)

    def send_400_response(self, msg: str) -> None:
        """Refuse a request that is not HTTP."""
        self._refuse(ApiError(400, f"{msg.removesuffix('.').lower()}", code="invalid_http"))

    def _headers_timed_out(self) -> None:
        """Refuse a client whose headers are incomplete; close the connection if it has sent none."""
        if self._head_bytes:
            message = f"the headers were not received within {HEAD_SECONDS:.0f} seconds"
            self._refuse(ApiError(408, message, code="headers_too_slow"))
        else:
            self.transport.close()

    def _check_progress(self, before: int) -> None:
        """Abort the connection if the client has read nothing of its response since."""
        size = self.transport.get_write_buffer_size()
        if size >= before:
            self.transport.abort()
        elif size:
            self.loop.call_later(RESPONSE_SECONDS, self._check_progress, size)

    def _refuse(self, error: ApiError) -> None:
        """Send an error and close the connection; during a response, only close it."""
        self._stop_timer()
        if self.cycle is None or self.cycle.response_complete:
            response = error.response()
            headers = [*response.raw_headers, (b"connection", b"close")]
            lines = [STATUS_LINES[error.status], *(name + b": " + value for name, value in headers)]
            self.transport.write(b"\r\n".join(lines) + b"\r\n\r\n" + bytes(response.body))
        self.transport.close()

    def _start_timer(self, seconds: float, then: Any) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, then)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
