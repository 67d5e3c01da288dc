"""Reader of pictures by URL or path, for tables that hold URLs, with limits of bytes and time, and retries."""

import time
from collections.abc import Iterator
from functools import cache
from types import TracebackType
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from babelclip.errors import ImageError, ImageTooLargeError, InputError
from babelclip.scale.locations import Location, open_location
from babelclip.settings import settings

CONNECTIONS = 64
WAIT_SECONDS = 10.0
TOTAL_SECONDS = 60.0
TRIES = 3
RETRIED_STATUS = (429, 500, 502, 503, 504)
CHUNK_BYTES = 2**16
AGENT = "babelclip (bulk embedding)"


class FileReader:
    """Reads the bytes of a picture by URL or path. Safe to use from several threads."""

    def __init__(self) -> None:
        """Configure the session; no connection is opened."""
        # Retry-After is ignored: it can be hours, and the whole shard would wait.
        retry = Retry(
            total=TRIES - 1, backoff_factor=0.5, status_forcelist=RETRIED_STATUS, respect_retry_after_header=False
        )
        self._session = requests.Session()
        self._session.headers["User-Agent"] = AGENT
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=CONNECTIONS, max_retries=retry))

    def __enter__(self) -> "FileReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()

    def read(self, url: str) -> bytes:
        """Read a file.

        :param url: http, https, a path, or any URL that ``open_location`` opens
        :return: the bytes
        :raises ImageError: if the file cannot be read, or exceeds the limit of bytes or time
        """
        if urlsplit(url).scheme in ("http", "https"):
            return self._from_web(url)
        try:
            location = _location(url)
            with location.filesystem.open_input_stream(location.path) as stream:
                return _bounded(iter(lambda: stream.read(CHUNK_BYTES), b""))
        except FileNotFoundError:
            raise ImageError("no such file") from None
        except (OSError, InputError) as error:
            raise ImageError(str(error)) from None

    def _from_web(self, url: str) -> bytes:
        try:
            with self._session.get(url, stream=True, timeout=WAIT_SECONDS) as response:
                if response.status_code != requests.codes.ok:
                    raise ImageError(f"HTTP {response.status_code}")
                return _bounded(response.iter_content(CHUNK_BYTES))
        except requests.RequestException as error:
            raise ImageError(f"cannot be fetched: {error}") from None


@cache
def _root(url: str) -> Location:
    """Open the bucket or host of a URL, once, because opening makes requests to the store."""
    return open_location(url)


def _location(url: str) -> Location:
    """Open the location of a path or URL."""
    parts = urlsplit(url)
    if parts.scheme in ("", "file"):
        return open_location(url)
    root = _root(f"{parts.scheme}://{parts.netloc}")
    return Location(root.filesystem, root.path.rstrip("/") + parts.path, root.prefix)


def _bounded(chunks: Iterator[bytes]) -> bytes:
    """Join chunks within the limits of bytes and time."""
    limit, deadline = settings().max_image_bytes, time.monotonic() + TOTAL_SECONDS
    content = bytearray()
    for chunk in chunks:
        content += chunk
        if len(content) > limit:
            raise ImageTooLargeError(f"over the limit of {limit} bytes (BABELCLIP_MAX_IMAGE_BYTES)")
        if time.monotonic() > deadline:
            raise ImageError(f"not complete after {TOTAL_SECONDS:.0f} seconds")
    return bytes(content)
