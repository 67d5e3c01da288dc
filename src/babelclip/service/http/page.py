"""The page: static files of the package, each read once."""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources

from fastapi import APIRouter, Request
from starlette.responses import Response

from babelclip.service.errors import ApiError

ROUTER = APIRouter(include_in_schema=False)
PAGE = "page"
INDEX = "index.html"
TYPES = {
    "css": "text/css",
    "html": "text/html",
    "js": "text/javascript",
    "json": "application/json",
    "svg": "image/svg+xml",
}
"""The system's own table may say otherwise, and a browser runs no script of another type."""


@dataclass(frozen=True, slots=True)
class PageFile:
    """A file of the page; the tag changes when its content does."""

    content: bytes
    kind: str
    tag: str


@cache
def page_files() -> dict[str, PageFile]:
    """The files of the page.

    :return: by name
    """
    found = {}
    for file in (resources.files("babelclip.service") / PAGE).iterdir():
        kind = TYPES.get(file.name.rpartition(".")[2])
        if kind is not None and file.is_file():
            content = file.read_bytes()
            found[file.name] = PageFile(content, kind, f'"{hashlib.sha256(content).hexdigest()[:32]}"')
    return found


@ROUTER.get("/")
@ROUTER.get("/page/{name}")
async def page_file(request: Request, name: str = INDEX) -> Response:
    """A file of the page."""
    file = page_files().get(name)
    if file is None:
        raise ApiError(404, f"there is no page {name[:80]!r}", code="not_found")
    headers = {"cache-control": "no-cache", "etag": file.tag}
    if request.headers.get("if-none-match") == file.tag:
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.kind, headers=headers)
