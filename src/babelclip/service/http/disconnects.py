"""Cancel the work of a request when its client disconnects or its time is over."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from babelclip.service.errors import ApiError

Result = TypeVar("Result")


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
