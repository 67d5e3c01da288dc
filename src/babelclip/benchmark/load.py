"""Load on a service: clients that ask again as soon as they are answered, and take little of the processor."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

LONGEST_HEAD = 65_536


@dataclass(frozen=True, slots=True)
class Load:
    """How a service stood a load: requests a second, the times of each in seconds in order of size, and the seconds of
    processors that all clients together took.
    """

    clients: int
    rate: float
    times: tuple[float, ...]
    busy: float

    def quantile(self, part: float) -> float:
        """A time that a part of the requests did not pass.

        :param part: 0 to 1
        :return: seconds
        """
        return self.times[min(len(self.times) - 1, int(len(self.times) * part))]

    def as_json(self) -> dict[str, float]:
        """What JSON can hold of it.

        :return: requests, requests a second, and times and the clients' work in seconds
        """
        times = {f"p{round(part * 100)}": self.quantile(part) for part in (0.5, 0.95, 0.99)}
        return {"requests": len(self.times), "rate": self.rate, **times, "busy": self.busy}


def put_under_load(
    url: str, key: str, model: str, texts: Sequence[str], *, clients: int, seconds: float, most: int = 0
) -> Load:
    """Ask for the vector of one text at a time, from so many clients at once.

    :param url: of the service, without a path
    :param key: its key
    :param model: as the service names it
    :param texts: taken in turn
    :param clients: how many
    :param seconds: how long
    :param most: requests after which to end all the same; 0 is without end
    :return: what came of it
    :raises RuntimeError: if a request is not answered with 200
    """
    host = urlsplit(url).netloc
    requests = [_request(host, key, model, text) for text in texts]
    return asyncio.run(_run(host, requests, clients, seconds, most))


def _request(host: str, key: str, model: str, text: str) -> bytes:
    body = json.dumps({"model": model, "input": text}).encode()
    head = (
        f"POST /v1/embeddings HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def _run(host: str, requests: Sequence[bytes], clients: int, seconds: float, most: int) -> Load:
    times: list[float] = []
    began, busy = time.perf_counter(), time.process_time()

    async def client(first: int) -> None:
        name, _, port = host.rpartition(":")
        reader, writer = await asyncio.open_connection(name, int(port), limit=LONGEST_HEAD)
        number = first
        while time.perf_counter() - began < seconds and not 0 < most <= len(times):
            sent = time.perf_counter()
            writer.write(requests[number % len(requests)])
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(head.decode("latin-1").partition("\r\n")[0])
            length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
            times.append(time.perf_counter() - sent)
            number += clients
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(client(first) for first in range(clients)))
    rate = len(times) / (time.perf_counter() - began)
    return Load(clients, rate, tuple(sorted(times)), time.process_time() - busy)
