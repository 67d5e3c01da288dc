"""Connections that send too slowly, too much, or no HTTP, against a server that listens."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn

from babelclip.models.model import Model
from babelclip.service.app import create_app
from babelclip.service.http import protocol
from tests.helpers.serving import Running, running

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def listening(pair: Model, *, most: int = 1000) -> AsyncIterator[tuple[Running, int]]:
    """A running service, and the port where it listens."""
    async with running(pair) as here:
        config = uvicorn.Config(
            create_app(here.service),
            port=0,
            http=protocol.BoundedConnection,
            ws="none",
            lifespan="off",
            log_config=None,
            limit_concurrency=most,
        )
        server = uvicorn.Server(config)
        config.load()
        server.lifespan = config.lifespan_class(config)
        await server.startup()
        yield here, server.servers[0].sockets[0].getsockname()[1]
        await server.shutdown()


async def exchange(port: int, content: bytes) -> tuple[int, dict[str, object]]:
    """What a client is answered that sends this and then nothing, until the service leaves it; status 0 is nothing."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(content)
    answer = b""
    async with asyncio.timeout(20):
        try:
            while part := await reader.read(65_536):
                answer += part
        except ConnectionResetError:
            pass
    writer.close()
    if not answer:
        return 0, {}
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"connection: close" in head.lower()
    return int(head.split()[1]), json.loads(body)["error"]


async def left(writer: asyncio.StreamWriter) -> bool:
    """Send on until the service ends the connection; whether it did."""
    async with asyncio.timeout(20):
        try:
            while True:
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.05)
        except ConnectionError:
            writer.close()
            return True


async def test_what_is_no_http_gets_the_form_of_all_errors(pair: Model) -> None:
    async with listening(pair) as (_, port):
        status, error = await exchange(port, b"hello\r\n\r\n")
    assert (status, error["code"]) == (400, "invalid_http")


async def test_a_head_that_does_not_come_is_not_waited_for(pair: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.2)
    async with listening(pair) as (_, port):
        slow, silent = await asyncio.gather(exchange(port, b"GET / HTTP/1.1\r\nHost: x\r\n"), exchange(port, b""))
    assert (slow[0], slow[1]["code"]) == (408, "headers_too_slow")
    assert silent == (0, {})


async def test_a_head_without_end_is_refused(pair: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "MAX_HEAD_BYTES", 1000)
    async with listening(pair) as (_, port):
        status, error = await exchange(port, b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 200)
    assert (status, error["code"]) == (431, "headers_too_large")


async def test_a_second_slow_head_on_a_connection_is_not_waited_for_either(
    pair: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.2)
    async with listening(pair) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        first = await reader.readuntil(b"}")
        await asyncio.sleep(0.4)
        writer.write(b"GET /healthz HTTP/1.1\r\n")
        async with asyncio.timeout(20):
            second = await reader.read()
        writer.close()
    assert first.startswith(b"HTTP/1.1 200")
    assert second.startswith(b"HTTP/1.1 408")


async def test_the_rest_of_a_refused_body_is_not_waited_for_without_end(
    pair: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "REST_SECONDS", 0.2)
    async with listening(pair) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n{")
        answer = await reader.readuntil(b"}}")
        await left(writer)
    assert answer.startswith(b"HTTP/1.1 401")


async def test_a_client_that_does_not_take_its_answer_is_left(pair: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "RESPONSE_SECONDS", 0.2)
    async with listening(pair) as (here, port):
        body = json.dumps({"model": "pair", "input": ["dog"] * 2048}).encode()
        head = f"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {here.secret}\r\n"
        request = f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
        # As many answers as fill what the system itself holds.
        for _ in range(40):
            writer.write(request)
        assert await left(writer)
        del reader


async def test_a_client_over_the_limit_of_connections_is_told_so(pair: Model) -> None:
    async with listening(pair, most=2) as (_, port):
        others = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        status, error = await exchange(port, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        for _, writer in others:
            writer.close()
    assert (status, error["code"]) == (503, "overloaded")
