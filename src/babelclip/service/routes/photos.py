"""GET /v1/indexes/{index}/photos/{photo}: a photo of an index, small, by the name of its content."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from babelclip.service.errors import ApiError
from babelclip.service.inference.thumbnail_cache import SMALL_PIXELS
from babelclip.service.state import service_of

ROUTER = APIRouter(tags=["search"])
PIXELS = {"small": SMALL_PIXELS, "large": 1280}
MOST_MS = 10**9
CACHE = "private, max-age=86400"

PhotoName = Annotated[
    str, Path(pattern="^[0-9a-f]{64}$", description="sha256 of the content, as returned by a search.")
]


@ROUTER.get(
    "/v1/indexes/{index}/photos/{photo}",
    response_class=Response,
    responses={200: {"description": "A JPEG without metadata.", "content": {"image/jpeg": {}}}},
)
async def show_photo(
    request: Request,
    index: str,
    photo: PhotoName,
    size: Annotated[Literal["small", "large"], Query(description="At most 320 or 1280 pixels.")] = "small",
    at_ms: Annotated[int, Query(ge=0, le=MOST_MS, description="Time of the frame in a video.")] = 0,
) -> Response:
    """Return a photo of an index, reduced and without metadata; free of charge."""
    service = service_of(request)
    await service.desk.key_of(request, "search")
    mounted = service.shelf.get(index)
    for path in await service.shelf.ask(mounted, lambda index: index.files_of(bytes.fromhex(photo))):
        made = await service.thumbnails.jpeg(path, PIXELS[size], at_ms=at_ms)
        if made is not None:
            return Response(made, media_type="image/jpeg", headers={"cache-control": CACHE, "vary": "authorization"})
    raise ApiError(404, f"index {mounted.name} has no picture {photo}", code="not_found", param="photo")
