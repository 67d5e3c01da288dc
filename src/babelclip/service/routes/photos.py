"""GET /v1/indexes/{index}/photos/{photo}: a thumbnail of a photo of an index, by the sha256 of its content."""

from starlette.requests import Request
from starlette.responses import Response

from babelclip.service.errors import ApiError
from babelclip.service.http.openapi import ApiRoute
from babelclip.service.inference.thumbnail_cache import SMALL_PIXELS
from babelclip.service.schemas.requests import PhotoParameters, parse_parameters
from babelclip.service.state import service_of

PIXELS = {"small": SMALL_PIXELS, "large": 1280}
CACHE = "private, max-age=86400"


async def show_photo(request: Request) -> Response:
    """Return a photo of an index, reduced and without metadata; free of charge."""
    service = service_of(request)
    await service.access.authenticate(request, "search")
    parameters = parse_parameters({**request.query_params, **request.path_params}, PhotoParameters)
    mounted = service.indexes.get(parameters.index)
    digest = bytes.fromhex(parameters.photo)
    for path in await service.indexes.run(mounted, lambda index: index.files_of(digest)):
        jpeg = await service.thumbnails.jpeg(path, PIXELS[parameters.size], at_ms=parameters.at_ms)
        if jpeg is not None:
            return Response(jpeg, media_type="image/jpeg", headers={"cache-control": CACHE, "vary": "authorization"})
    message = f"the index {mounted.name} has no photo {parameters.photo}"
    raise ApiError(404, message, code="not_found", param="photo")


ROUTES = [
    ApiRoute(
        "GET",
        "/v1/indexes/{index}/photos/{photo}",
        show_photo,
        tag="search",
        parameters=PhotoParameters,
        response={"image/jpeg": {}},
        response_description="A JPEG without metadata.",
    )
]
