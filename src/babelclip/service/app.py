"""The ASGI application: routes, middleware, error handlers and lifespan."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from babelclip.errors import BabelclipError
from babelclip.service.errors import ApiError, as_api_error, json_response
from babelclip.service.http import openapi, page
from babelclip.service.http.middleware import RequestMiddleware
from babelclip.service.routes import classify, deepinfra, embeddings, photos, search, status
from babelclip.service.state import Service

CORS_SECONDS = 600


def create_app(service: Service) -> Starlette:
    """Create the application of a service.

    :param service: the service, which the application starts and closes
    :return: an ASGI application
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await service.start()
        yield
        await service.close()

    settings = service.settings
    middleware = [Middleware(RequestMiddleware, max_body_bytes=settings.max_body_bytes, metrics=service.metrics)]
    if settings.cors_origins:
        cors = Middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type"],
            expose_headers=["retry-after", "x-cost-usd", "x-request-id", "x-truncated-inputs"],
            max_age=CORS_SECONDS,
        )
        middleware.append(cors)
    handlers = dict.fromkeys((ApiError, BabelclipError, HTTPException), _error_response)
    app = Starlette(routes=ROUTES, middleware=middleware, exception_handlers=handlers, lifespan=lifespan)
    app.router.redirect_slashes = False
    app.state.service = service
    return app


@cache
def openapi_document() -> dict[str, Any]:
    """Generate the OpenAPI document of the application, once.

    :return: the document
    """
    return openapi.document(ROUTES)


async def _openapi_json(request: Request) -> Response:
    return json_response(openapi_document())


ROUTES = [
    *embeddings.ROUTES,
    *deepinfra.ROUTES,
    *classify.ROUTES,
    *search.ROUTES,
    *photos.ROUTES,
    *status.ROUTES,
    *page.ROUTES,
    Route("/openapi.json", _openapi_json),
]


async def _error_response(request: Request, error: Exception) -> Response:
    """The error envelope of an exception."""
    if isinstance(error, HTTPException):
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code)
        path = request.url.path
        message = f"{request.method} {path[:200]}: {str(error.detail).lower()}"
        if error.status_code == 404 and path.endswith("/"):
            message += "; no path but / ends with a slash"
        return ApiError(error.status_code, message, code=code, headers=error.headers).response()
    return as_api_error(error, request.scope["state"]["request_id"]).response()
