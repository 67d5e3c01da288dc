from collections.abc import AsyncIterator, Callable

import httpx2
import pytest

from babelclip.service.errors import ApiError
from babelclip.service.inference.fetch import ImageFetcher, is_public

pytestmark = pytest.mark.anyio

PUBLIC = "93.184.216.34"
NAMES = {
    "good.test": [PUBLIC],
    "other.test": ["2606:2800:220:1::1"],
    "inner.test": ["10.0.0.7"],
    "mixed.test": [PUBLIC, "127.0.0.1"],
    "none.test": [],
}


class Names:
    """A name server that counts, and may change its answer."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        if host == "rebind.test":
            return [PUBLIC] if self.asked.count(host) == 1 else ["127.0.0.1"]
        if host not in NAMES and not host.replace(".", "").replace(":", "").isalnum():
            raise OSError("no such name")
        return NAMES.get(host, [host])


def fetcher(
    answer: Callable[[httpx2.Request], httpx2.Response], policy: str = "public", max_bytes: int = 1000
) -> ImageFetcher:
    return ImageFetcher(policy, max_bytes=max_bytes, find=Names(), transport=httpx2.MockTransport(answer))


async def pieces() -> AsyncIterator[bytes]:
    yield b"pic"
    yield b"ture"


def picture(request: httpx2.Request) -> httpx2.Response:
    return httpx2.Response(200, content=pieces())


async def refused(fetch: ImageFetcher, url: str) -> ApiError:
    with pytest.raises(ApiError) as error:
        await fetch(url)
    await fetch.close()
    assert error.value.status == 400
    return error.value


async def test_a_public_picture_is_fetched_from_the_address_that_was_looked_at() -> None:
    seen: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return picture(request)

    fetch = fetcher(answer)
    assert await fetch("https://good.test/a.jpg?x=1") == b"picture"
    (request,) = seen
    assert request.url.host == PUBLIC
    assert request.url.raw_path == b"/a.jpg?x=1"
    assert request.headers["host"] == "good.test"
    assert request.extensions["sni_hostname"] == "good.test"
    await fetch.close()


@pytest.mark.parametrize(
    "url",
    [
        "http://inner.test/",
        "http://mixed.test/",
        "http://none.test/",
        "http://127.0.0.1/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[2002:7f00:1::]/",
        "http://169.254.169.254/latest/meta-data",
        "http://0.0.0.0/",
        "http://100.64.0.1/",
        "http://[fe80::1]/",
        "http://[fd00::1]/",
        "http://224.0.0.1/",
        "http://good.test:22/",
        "http://user:secret@good.test/",
        "ftp://good.test/",
        "file:///etc/passwd",
        "http:///x",
        "http://good.test/" + "x" * 2000,
        "http://exa mple/",
    ],
)
async def test_nothing_but_the_public_web_is_reached(url: str) -> None:
    def never(request: httpx2.Request) -> httpx2.Response:
        raise AssertionError(f"{request.url} was asked")

    error = await refused(fetcher(never), url)
    assert "10.0.0.7" not in error.message


async def test_a_redirection_is_looked_at_like_a_new_url() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.headers["host"] == "good.test":
            return httpx2.Response(302, headers={"location": request.url.params["to"]})
        return picture(request)

    assert await fetcher(answer)("http://good.test/?to=http://other.test/") == b"picture"
    for target in ("http://inner.test/", "http://127.0.0.1/", "file:///etc/passwd", "//169.254.169.254/"):
        await refused(fetcher(answer), f"http://good.test/?to={target}")


async def test_a_name_that_changes_its_address_does_not_lead_inside() -> None:
    hosts: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        hosts.append(request.url.host)
        return httpx2.Response(302, headers={"location": "http://rebind.test/again"})

    await refused(fetcher(answer), "http://rebind.test/")
    assert hosts == [PUBLIC]


async def test_a_circle_of_redirections_ends() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(301, headers={"location": "http://good.test/"})

    assert "more than 3" in (await refused(fetcher(answer), "http://good.test/")).message


async def test_a_picture_over_the_limit_is_not_read_to_its_end() -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 10**6:
            sent += 100
            yield b"x" * 100

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, content=endless())

    error = await refused(fetcher(answer), "http://good.test/")
    assert error.code == "image_too_large"
    assert sent < 2000


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (httpx2.Response(404), "status 404"),
        (httpx2.Response(200, headers={"content-encoding": "gzip"}), "compressed"),
    ],
)
async def test_other_answers_are_no_pictures(response: httpx2.Response, message: str) -> None:
    assert message in (await refused(fetcher(lambda _: response), "http://good.test/")).message


async def test_a_server_that_cannot_be_reached_tells_nothing_of_the_network() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("10.1.2.3 refused")

    assert "10.1.2.3" not in (await refused(fetcher(answer), "http://good.test/")).message


async def test_listed_hosts_alone_are_fetched_wherever_they_are() -> None:
    policy = "inner.test, good.test:8080"
    assert await fetcher(picture, policy)("http://inner.test/") == b"picture"
    assert await fetcher(picture, policy)("http://GOOD.test:8080/") == b"picture"
    for url in ("http://good.test/", "http://other.test/", "http://inner.test:22/"):
        await refused(fetcher(picture, policy), url)


async def test_nothing_is_fetched_where_it_is_off() -> None:
    assert (await refused(fetcher(picture, "off"), "http://good.test/")).code == "image_urls_off"


def test_addresses_that_are_not_public() -> None:
    assert is_public(PUBLIC)
    assert is_public("2606:2800:220:1::1")
    assert not any(map(is_public, ("192.168.1.1", "::", "::1%lo", "not an address", "240.0.0.1", "198.18.0.1")))
