"""A connection: uvicorn's own, with bounds on what a client may do before a request reaches the application.

uvicorn waits for a head as long as the client likes, however long it becomes, and for a client that does not take its
answer. What it answers itself, it answers as text; here it has the form of all other errors.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from babelclip.service.errors import ApiError

HEAD_SECONDS = 15.0
"""Within which the head of a request must have come."""
MAX_HEAD_BYTES = 65_536
REST_SECONDS = 30.0
"""Within which the rest of a body must have come whose request was answered before."""
ANSWER_SECONDS = 30.0
"""Within which a client must take some of its answer."""
STATUS_LINES = {400: b"HTTP/1.1 400 Bad Request", 408: b"HTTP/1.1 408 Request Timeout", 431: b"HTTP/1.1 431 Too Large"}


class BoundedConnection(HttpToolsProtocol):
    """A connection of one client, for ``uvicorn.Config(http=...)``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """As uvicorn makes it."""
        super().__init__(*args, **kwargs)
        # A client over the limit is told so by the guard.
        self._most, self.limit_concurrency = self.limit_concurrency, None
        self._clock: asyncio.TimerHandle | None = None
        self._in_head, self._in_body, self._head_bytes = True, False, 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head."""
        super().connection_made(transport)
        self._wind(HEAD_SECONDS, self._no_head)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """A piece of a head or body."""
        super().data_received(data)
        if self.transport.is_closing():
            return
        if not self._in_head:
            self._head_bytes = 0
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            message = f"the headers have {self._head_bytes} bytes or more, over the limit of {MAX_HEAD_BYTES}"
            self._refuse(ApiError(431, message, code="headers_too_large"))
        elif self._clock is None:
            self._wind(HEAD_SECONDS, self._no_head)

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._in_head = True

    def on_headers_complete(self) -> None:
        """A head is whole."""
        self._in_head, self._in_body = False, True
        self._stop()
        self.scope["state"]["full"] = self._most is not None and len(self.connections) > self._most
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """A body is whole."""
        self._in_body = False
        self._stop()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """An answer was given; what it is part of may still be on its way, in both directions."""
        super().on_response_complete()
        if self._in_body:
            self._wind(REST_SECONDS, self.transport.abort)
        if size := self.transport.get_write_buffer_size():
            self.loop.call_later(ANSWER_SECONDS, self._look_at_answer, size)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP."""
        self._refuse(ApiError(400, f"{msg.removesuffix('.').lower()}", code="invalid_http"))

    def _no_head(self) -> None:
        """Refuse a client that sends no head, or, where it has sent nothing of one, just leave."""
        if self._head_bytes:
            message = f"the headers did not come within {HEAD_SECONDS:.0f} seconds"
            self._refuse(ApiError(408, message, code="headers_too_slow"))
        else:
            self.transport.close()

    def _look_at_answer(self, before: int) -> None:
        """Leave a client that has taken nothing of its answer since."""
        size = self.transport.get_write_buffer_size()
        if size >= before:
            self.transport.abort()
        elif size:
            self.loop.call_later(ANSWER_SECONDS, self._look_at_answer, size)

    def _refuse(self, error: ApiError) -> None:
        """Say what is wrong, and leave; an answer that is under way would not be told from this one."""
        self._stop()
        if self.cycle is None or self.cycle.response_complete:
            response = error.response()
            headers = [*response.raw_headers, (b"connection", b"close")]
            lines = [STATUS_LINES[error.status], *(name + b": " + value for name, value in headers)]
            self.transport.write(b"\r\n".join(lines) + b"\r\n\r\n" + bytes(response.body))
        self.transport.close()

    def _wind(self, seconds: float, then: Any) -> None:
        self._stop()
        self._clock = self.loop.call_later(seconds, then)

    def _stop(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None
