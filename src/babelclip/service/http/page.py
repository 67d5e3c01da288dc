"""The web page: static files of the package, each read once."""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from babelclip.service.errors import ApiError

PAGE = "page"
INDEX = "index.html"
TYPES = {
    "css": "text/css",
    "html": "text/html",
    "js": "text/javascript",
    "json": "application/json",
    "svg": "image/svg+xml",
}
"""File extension -> content type; the table of the operating system may differ, and browsers check it for scripts."""


@dataclass(frozen=True, slots=True)
class PageFile:
    """A static file and its entity tag, a digest of the content."""

    content: bytes
    content_type: str
    etag: str


@cache
def page_files() -> dict[str, PageFile]:
    """Read the static files.

    :return: name -> file
    """
    files = {}
    for file in (resources.files("babelclip.service") / PAGE).iterdir():
        content_type = TYPES.get(file.name.rpartition(".")[2])
        if content_type is not None and file.is_file():
            content = file.read_bytes()
            files[file.name] = PageFile(content, content_type, f'"{hashlib.sha256(content).hexdigest()[:32]}"')
    return files


async def page_file(request: Request) -> Response:
    """Send a static file.

    :param request: the request, with the name of a file in its path or none for the page itself
    :return: the file, or 304 if the client has it
    :raises ApiError: 404, if there is no such file
    """
    name = request.path_params.get("name", INDEX)
    file = page_files().get(name)
    if file is None:
        raise ApiError(404, f"the page has no file {name[:80]!r}", code="not_found")
    headers = {"cache-control": "no-cache", "etag": file.etag}
    if request.headers.get("if-none-match") == file.etag:
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.content_type, headers=headers)


ROUTES = [Route("/", page_file), Route("/page/{name}", page_file)]
