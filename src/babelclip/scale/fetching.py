"""Fetching pictures by URL, for tables that hold URLs: bounded in bytes and time, tried again where it may help."""

import time
from collections.abc import Iterator
from functools import cache
from types import TracebackType
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from babelclip.errors import ImageError, ImageTooLargeError, InputError
from babelclip.scale.places import Place, open_place
from babelclip.settings import settings

CONNECTIONS = 64
WAIT_SECONDS = 10.0
TOTAL_SECONDS = 60.0
TRIES = 3
RETRIED_STATUS = (429, 500, 502, 503, 504)
CHUNK_BYTES = 2**16
AGENT = "babelclip (bulk embedding)"


class Fetcher:
    """Fetches the bytes of a picture by URL or path. Safe to use from several threads."""

    def __init__(self) -> None:
        """Make ready; no connection is opened."""
        # A server's own wish (Retry-After) is not followed: it may be hours, and a whole shard would wait.
        retry = Retry(
            total=TRIES - 1, backoff_factor=0.5, status_forcelist=RETRIED_STATUS, respect_retry_after_header=False
        )
        self._session = requests.Session()
        self._session.headers["User-Agent"] = AGENT
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=CONNECTIONS, max_retries=retry))

    def __enter__(self) -> "Fetcher":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()

    def fetch(self, url: str) -> bytes:
        """The bytes behind a URL or path.

        :param url: http, https, a path, or whatever ``places.open_place`` opens
        :return: the file
        :raises ImageError: if it cannot be had, or is over the limit of bytes
        """
        if urlsplit(url).scheme in ("http", "https"):
            return self._from_web(url)
        try:
            place = _place(url)
            with place.filesystem.open_input_stream(place.path) as stream:
                return _bounded(iter(lambda: stream.read(CHUNK_BYTES), b""))
        except FileNotFoundError:
            raise ImageError("no such file") from None
        except (OSError, InputError) as error:
            raise ImageError(str(error)) from None

    def _from_web(self, url: str) -> bytes:
        try:
            with self._session.get(url, stream=True, timeout=WAIT_SECONDS) as answer:
                if answer.status_code != requests.codes.ok:
                    raise ImageError(f"HTTP {answer.status_code}")
                return _bounded(answer.iter_content(CHUNK_BYTES))
        except requests.RequestException as error:
            raise ImageError(f"cannot be fetched: {error}") from None


@cache
def _root(url: str) -> Place:
    """The bucket or host of a URL; opened once, since every opening asks the store."""
    return open_place(url)


def _place(url: str) -> Place:
    """Where a path or URL leads."""
    parts = urlsplit(url)
    if parts.scheme in ("", "file"):
        return open_place(url)
    root = _root(f"{parts.scheme}://{parts.netloc}")
    return Place(root.filesystem, root.path.rstrip("/") + parts.path, root.prefix)


def _bounded(chunks: Iterator[bytes]) -> bytes:
    """All the chunks, within the limits of bytes and time."""
    limit, deadline = settings().max_image_bytes, time.monotonic() + TOTAL_SECONDS
    content = bytearray()
    for chunk in chunks:
        content += chunk
        if len(content) > limit:
            raise ImageTooLargeError(f"over the limit of {limit} bytes (BABELCLIP_MAX_IMAGE_BYTES)")
        if time.monotonic() > deadline:
            raise ImageError(f"not here after {TOTAL_SECONDS:.0f} seconds")
    return bytes(content)
