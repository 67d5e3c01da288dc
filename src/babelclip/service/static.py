"""The page: static files of the package, each read once."""

from importlib import resources
from mimetypes import guess_type

from fastapi import APIRouter
from starlette.responses import Response

from babelclip.service.errors import ApiError

ROUTER = APIRouter(include_in_schema=False)
PAGE = "page"
INDEX = "index.html"


@ROUTER.get("/")
@ROUTER.get("/page/{name}")
async def page_file(name: str = INDEX) -> Response:
    """A file of the page."""
    files = resources.files("babelclip.service") / PAGE
    file = next((file for file in files.iterdir() if file.name == name and file.is_file()), None)
    if file is None:
        raise ApiError(404, f"there is no page {name[:80]!r}", code="not_found")
    kind = guess_type(name)[0] or "application/octet-stream"
    return Response(file.read_bytes(), media_type=kind, headers={"cache-control": "no-cache"})
