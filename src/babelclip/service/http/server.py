"""The HTTP server: uvicorn with limits on connections, which announces its address and its end."""

import gc
import logging
from collections.abc import Callable
from socket import socket

import uvicorn
from starlette.types import ASGIApp

from babelclip.service.http.protocol import BoundedConnection

KEEP_ALIVE_SECONDS = 75
"""Longer than most clients and proxies keep a connection, so that it is they who end it."""
SHUTDOWN_SECONDS = 30


class Server(uvicorn.Server):
    """A server that announces its address when it listens there, and what it waits for at the end."""

    def __init__(
        self, app: ASGIApp, *, names: str, host: str, port: int, connections: int, say: Callable[[str], None]
    ) -> None:
        """Configure the server; ``run`` starts it.

        :param app: the application
        :param names: of the models, to be announced
        :param host: the address to listen at
        :param port: the port; 0 takes a free one
        :param connections: the most at once
        :param say: is called with what is announced
        """
        config = uvicorn.Config(
            app,
            http=BoundedConnection,
            ws="none",
            host=host,
            port=port,
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=connections,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )
        super().__init__(config)
        self._names = names
        self._say = say

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        # What is there now stays: to look through it for garbage takes 50 ms each time, while all requests wait.
        gc.collect()
        gc.freeze()
        if self.started:
            address, port = self.servers[0].sockets[0].getsockname()[:2]
            self._say(f"babelclip serves {self._names} at http://{address}:{port} (Ctrl-C ends it)")

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Finish what was taken, and end."""
        if under_way := len(self.server_state.tasks):
            self._say(f"ending, once requests under way ({under_way}) are answered; Ctrl-C again ends at once")
        await super().shutdown(sockets)
        # What is cancelled at once would be told of with all lines that it passed.
        logging.getLogger("uvicorn.error").disabled = self.force_exit
