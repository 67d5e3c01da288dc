import asyncio

import pytest
from starlette.requests import Request

from babelclip.service.request_context import run_while_connected

pytestmark = pytest.mark.anyio


async def test_a_cancelled_request_is_not_mistaken_for_a_disconnected_client() -> None:
    async def receive() -> dict[str, object]:
        await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    request = Request({"type": "http", "headers": []}, receive)
    work = asyncio.ensure_future(run_while_connected(request, asyncio.sleep(60), 60))
    await asyncio.sleep(0.01)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
