"""The service as a process: started by its command, killed, stopped, flooded."""

import asyncio
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from babelclip.service.metering.keys import KeyStore
from babelclip.service.metering.tables import open_database

pytestmark = pytest.mark.slow


class Process:
    """A running ``babelclip serve`` on a free port."""

    def __init__(self, model: Path, home: Path) -> None:
        command = [sys.executable, "-m", "babelclip", "serve", "--model", str(model), "--port", "0"]
        environment = {**os.environ, "BABELCLIP_HOME": str(home)}
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        self.log: list[str] = []
        self.url = ""
        for line in self.process.stderr:
            self.log.append(line)
            if found := re.search(r"at (http://\S+)", line):
                self.url = found[1]
                break
        assert self.url, "".join(self.log)
        self._reader = threading.Thread(target=lambda: self.log.extend(self.process.stderr or ()), daemon=True)
        self._reader.start()
        self.database = home / "service.db"
        self.model = str(model)

    def rows(self) -> dict[str, int]:
        """Request id -> tokens, of the ledger."""
        with sqlite3.connect(self.database) as database:
            found = dict(database.execute("SELECT request_id, tokens FROM ledger").fetchall())
        database.close()
        return found

    def end(self, signal_number: int) -> int:
        self.process.send_signal(signal_number)
        code = self.process.wait(120)
        self._reader.join(10)
        if self.process.stderr is not None:
            self.process.stderr.close()
        return code


@pytest.fixture
def process(clip_folder: Path, home: Path) -> Iterator[Process]:
    started = Process(clip_folder, home)
    yield started
    if started.process.poll() is None:
        started.end(signal.SIGKILL)


@pytest.fixture
def open_process(clip_folder: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Process]:
    """One whose metrics anybody reads."""
    monkeypatch.setenv("BABELCLIP_OPEN_METRICS", "1")
    started = Process(clip_folder, home)
    yield started
    if started.process.poll() is None:
        started.end(signal.SIGKILL)


def secret(process: Process) -> str:
    engine = open_database(f"sqlite:///{process.database}")
    _, made = KeyStore(engine).create("test", ["embed"])
    engine.dispose()
    return made


def test_the_first_start_shows_an_admin_key_once_and_it_works(process: Process, clip_folder: Path, home: Path) -> None:
    shown = re.findall(r"bc-\S+", "".join(process.log))
    assert len(shown) == 1
    answer = httpx2.get(f"{process.url}/v1/models", headers={"authorization": f"Bearer {shown[0]}"})
    assert answer.status_code == 200
    assert process.end(signal.SIGTERM) == 0
    again = Process(clip_folder, home)
    assert "bc-" not in "".join(again.log)
    again.end(signal.SIGKILL)


def test_what_was_answered_before_a_kill_is_in_the_ledger_exactly_once(process: Process) -> None:
    headers = {"authorization": f"Bearer {secret(process)}"}
    answered: dict[str, int] = {}

    async def ask() -> None:
        async with httpx2.AsyncClient(headers=headers, timeout=30) as client:

            async def one(i: int) -> None:
                try:
                    while True:
                        body = {"model": process.model, "input": ["dog"] * (1 + i % 5)}
                        answer = await client.post(f"{process.url}/v1/embeddings", json=body)
                        answered[answer.headers["x-request-id"]] = answer.json()["usage"]["total_tokens"]
                        if len(answered) == 60:
                            process.process.kill()
                except httpx2.HTTPError:
                    return

            await asyncio.gather(*(one(i) for i in range(8)))

    asyncio.run(ask())
    assert process.end(signal.SIGKILL) == -signal.SIGKILL
    rows = process.rows()
    assert len(answered) >= 60
    assert answered.items() <= rows.items()
    assert len(rows) <= len(answered) + 8
    with sqlite3.connect(process.database) as database:
        (total,) = database.execute("SELECT sum(requests) FROM totals").fetchone()
    database.close()
    assert total == len(rows)


def test_a_stop_finishes_what_was_taken(process: Process) -> None:
    headers = {"authorization": f"Bearer {secret(process)}"}

    async def ask() -> list[httpx2.Response | BaseException]:
        async with httpx2.AsyncClient(headers=headers, timeout=60) as client:
            body = {"model": process.model, "input": ["dog and cat"] * 2000}
            calls = [asyncio.ensure_future(client.post(f"{process.url}/v1/embeddings", json=body)) for _ in range(3)]
            while (await client.get(f"{process.url}/healthz")).status_code != 200:
                pass
            await asyncio.sleep(0.3)
            process.process.terminate()
            return await asyncio.gather(*calls, return_exceptions=True)

    answers = asyncio.run(ask())
    assert process.end(signal.SIGTERM) == 0
    done = [a.headers["x-request-id"] for a in answers if isinstance(a, httpx2.Response) and a.status_code == 200]
    assert sorted(done) == sorted(process.rows())
    assert len(done) == 3, answers


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_a_plain_line_and_no_failure(process: Process, number: signal.Signals) -> None:
    told = len(process.log)
    assert process.end(number) == 0
    assert process.log[told:] == ["ended\n"]


@contextmanager
def half_a_request(process: Process) -> Iterator[tuple[socket.socket, bytes]]:
    """A connection on which a request is under way, and what its body lacks."""
    body = json.dumps({"model": process.model, "input": "dog"}).encode()
    host, _, port = process.url.removeprefix("http://").rpartition(":")
    head = f"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {secret(process)}\r\n"
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:5])
        metrics = f"{process.url}/metrics"
        while "babelclip_requests_in_flight 2.0" not in httpx2.get(metrics).text:  # the second is that of the metrics
            pass
        yield connection, body[5:]


def until(process: Process, told: str) -> None:
    while told not in "".join(process.log):
        assert process.process.poll() is None
        time.sleep(0.01)


def everything(connection: socket.socket) -> bytes:
    with connection.makefile("rb") as file:
        return file.read()


ENDING = "ending, once requests under way (1) are answered; Ctrl-C again ends at once\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_request_under_way_is_answered_before_the_end(open_process: Process, number: signal.Signals) -> None:
    process = open_process
    with half_a_request(process) as (connection, rest):
        process.process.send_signal(number)
        until(process, ENDING)
        connection.sendall(rest)
        assert everything(connection).startswith(b"HTTP/1.1 200")
    assert process.process.wait(60) == 0
    assert len(process.rows()) == 1
    process.end(number)
    assert process.log[-1] == "ended\n"


def test_a_second_ctrl_c_refuses_what_is_under_way_and_ends_at_once(open_process: Process) -> None:
    process = open_process
    with half_a_request(process) as (connection, _):
        process.process.send_signal(signal.SIGINT)
        until(process, ENDING)
        process.process.send_signal(signal.SIGINT)
        answer = everything(connection)
    assert answer.startswith(b"HTTP/1.1 503")
    assert b"the service is shutting down; try again" in answer
    assert process.process.wait(60) == 0
    process.end(signal.SIGINT)
    assert process.log[-1] == "ended at once\n"
    assert "Traceback" not in "".join(process.log)


def test_the_log_has_a_line_a_request_without_texts_or_secrets(process: Process) -> None:
    key = secret(process)
    body = json.dumps({"model": process.model, "input": "a private text"})
    kind = {"content-type": "application/json"}
    httpx2.post(
        f"{process.url}/v1/embeddings?x=private", content=body, headers={**kind, "authorization": f"Bearer {key}"}
    )
    process.end(signal.SIGTERM)
    log = "".join(process.log)
    assert re.search(r"req_\w+ POST /v1/embeddings 200 \d+\.\dms key=" + key[3:11], log)
    assert "private" not in log
    assert key[12:] not in log


def test_a_service_without_an_index_does_not_load_what_searches() -> None:
    said = "import sys, babelclip.cli.serve; print(sorted({'faiss', 'babelclip.search.index'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
