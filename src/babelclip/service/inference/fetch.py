"""Download images by URL without access to the network of the service (server-side request forgery).

The host name is resolved once, all of its addresses must be allowed, and the connection goes to a checked address, so
that a second response of the name server changes nothing. Each redirect is checked like a new URL.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2

from babelclip.errors import InputError
from babelclip.service.errors import ApiError

MAX_REDIRECTS = 3
FETCH_SECONDS = 10.0
MAX_URL = 2000
PORTS = {"http": 80, "https": 443}
REDIRECT_STATUSES = (301, 302, 303, 307, 308)
_TRANSLATED = ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")
"""Networks whose addresses contain an IPv4 address, which may be private (RFC 6052, 8215, 3056, 4380)."""
_HEADERS = {"accept": "image/*", "accept-encoding": "identity", "user-agent": "babelclip"}

Resolve = Callable[[str, int], Awaitable[list[str]]]


async def resolve(host: str, port: int) -> list[str]:
    """Resolve a host name.

    :param host: a name or an address
    :param port: port of the connection
    :return: its addresses
    :raises OSError: if it has none
    """
    addresses = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[4][0]) for address in addresses))


class ImageFetcher:
    """Downloads images by URL, under the policy of the operator."""

    def __init__(self, policy: str, *, max_bytes: int, find: Resolve = resolve, transport: Any = None) -> None:
        """Set the policy.

        :param policy: "off"; "public": hosts with public addresses only, at ports 80 and 443; or comma-separated hosts,
            each ``HOST`` or ``HOST:PORT``, whatever their addresses are
        :param max_bytes: size limit of an image
        :param find: resolves a host name
        :param transport: transport of httpx2, for tests
        :raises InputError: if the policy is empty
        """
        self._policy = policy.strip().casefold()
        self._hosts = frozenset(host.strip() for host in self._policy.split(",") if host.strip())
        if not self._hosts:
            raise InputError("BABELCLIP_IMAGE_URLS is empty; it must be off, public, or comma-separated hosts")
        self._max_bytes = max_bytes
        self._find = find
        # No proxy of the environment, no cookies, no unchecked redirects.
        self._client = httpx2.AsyncClient(
            trust_env=False, follow_redirects=False, timeout=FETCH_SECONDS, transport=transport
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def __call__(self, url: str) -> bytes:
        """Download an image.

        :param url: an http or https URL
        :return: the bytes of the response, which may be no image
        :raises ApiError: 400, if the policy forbids it or the download fails
        """
        if self._policy == "off":
            raise _refused("this service does not download images; send the image in base64", "image_urls_off")
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                for _ in range(MAX_REDIRECTS + 1):
                    content, url = await self._hop(url)
                    if content is not None:
                        return content
        except TimeoutError:
            message = f"the image was not received within {FETCH_SECONDS:.0f} seconds"
            raise _refused(message, "image_url_failed") from None
        except (httpx2.HTTPError, OSError):
            # The exact failure would reveal the network.
            raise _refused("the image's server cannot be reached", "image_url_failed") from None
        raise _refused(f"the image's URL redirects more than {MAX_REDIRECTS} times", "image_url_failed")

    async def _hop(self, text: str) -> tuple[bytes | None, str]:
        """The content of a URL, or None and the target of a redirect."""
        url = self._parse(text)
        address = await self._allowed_address(url)
        pinned = url.copy_with(host=address)
        host = url.netloc.decode("ascii")
        request = self._client.build_request(
            "GET", pinned, headers={**_HEADERS, "host": host}, extensions={"sni_hostname": url.raw_host.decode("ascii")}
        )
        response = await self._client.send(request, stream=True)
        try:
            if response.status_code in REDIRECT_STATUSES and "location" in response.headers:
                return None, str(url.join(response.headers["location"]))
            if response.status_code != 200:
                raise _refused(f"the image's server responded with status {response.status_code}", "image_url_failed")
            if response.headers.get("content-encoding", "identity") != "identity":
                raise _refused("the image's server sent a compressed response", "image_url_failed")
            return await self._content(response), ""
        finally:
            await response.aclose()

    async def _content(self, response: httpx2.Response) -> bytes:
        """The response body, up to the size limit."""
        content = bytearray()
        async for piece in response.aiter_raw():
            content += piece
            if len(content) > self._max_bytes:
                raise _refused(f"the image is over the limit of {self._max_bytes} bytes", "image_too_large")
        return bytes(content)

    def _parse(self, text: str) -> httpx2.URL:
        """The parsed URL, if its form is allowed."""
        try:
            url = httpx2.URL(text[: MAX_URL + 1])
        except (httpx2.InvalidURL, ValueError, TypeError):
            raise _refused("the image's URL is malformed") from None
        if len(text) > MAX_URL or url.scheme not in PORTS or not url.host or url.userinfo:
            raise _refused(f"the image's URL must be http(s), without a user name, with at most {MAX_URL} characters")
        return url

    async def _allowed_address(self, url: httpx2.URL) -> str:
        """The address to connect to."""
        port = url.port or PORTS[url.scheme]
        host = url.host.casefold().rstrip(".")
        listed = f"{host}:{port}" in self._hosts or (host in self._hosts and port in PORTS.values())
        if not listed and (self._hosts != {"public"} or port not in PORTS.values()):
            raise _refused("the service does not download images of this host")
        addresses = await self._find(host, port)
        if not addresses or (not listed and not all(is_public(address) for address in addresses)):
            raise _refused("the service does not download images of this host")
        return addresses[0]


def is_public(address: str) -> bool:
    """Tell whether an address belongs to the public internet.

    :param address: IPv4 or IPv6
    :return: False for private, loopback, link-local, shared, multicast and reserved addresses, also translated ones
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return is_public(str(found.ipv4_mapped))
        if any(found in ipaddress.ip_network(network) for network in _TRANSLATED):
            return False
    return found.is_global and not found.is_multicast


def _refused(message: str, code: str = "image_url_refused") -> ApiError:
    return ApiError(400, message, code=code, param="image")
