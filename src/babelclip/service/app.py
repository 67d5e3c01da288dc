"""The application: routes, guards and the life of the service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from babelclip.errors import BabelclipError
from babelclip.service.errors import ApiError, as_api_error, json_response
from babelclip.service.http import openapi, page
from babelclip.service.http.fast_path import Shortcut
from babelclip.service.http.middleware import ClientLeftError, Guard
from babelclip.service.routes import classify, deepinfra, embeddings, photos, search, status
from babelclip.service.state import Service

DESCRIPTION = "Text in 50+ languages and images in one vector space: embeddings, classification and search."
CORS_SECONDS = 600


def create_app(service: Service) -> FastAPI:
    """The application of a service.

    :param service: which the application starts, and closes at its end
    :return: an ASGI application
    """

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        await service.start()
        yield
        await service.close()

    app = FastAPI(
        title="babelclip",
        description=DESCRIPTION,
        lifespan=life,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.service = service
    for module in (embeddings, deepinfra, classify, search, photos, status, page):
        app.include_router(module.ROUTER)
    app.add_api_route("/openapi.json", lambda: json_response(openapi.document(app)), include_in_schema=False)
    for kind in (ApiError, BabelclipError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, _answer)
    app.add_exception_handler(ClientDisconnect, _leave)
    app.add_middleware(Shortcut, routes=embeddings.ROUTER.routes)
    if service.settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(service.settings.cors_origins),
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type"],
            expose_headers=["retry-after", "x-cost-usd", "x-request-id", "x-truncated-inputs"],
            max_age=CORS_SECONDS,
        )
    app.add_middleware(Guard, max_body_bytes=service.settings.max_body_bytes, metrics=service.metrics)
    return app


async def _answer(request: Request, error: Exception) -> Response:
    """An error as an envelope."""
    if isinstance(error, HTTPException):
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code)
        path = request.url.path
        message = f"{request.method} {path[:200]}: {str(error.detail).lower()}"
        if error.status_code == 404 and path.endswith("/"):
            message += "; no route but / has a slash at its end"
        return ApiError(error.status_code, message, code=code, headers=error.headers).response()
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"][1:]) or None
        return ApiError(400, f"{field}: {first['msg']}", code="invalid_value", param=field).response()
    return as_api_error(error, request.scope["state"]["request_id"]).response()


async def _leave(request: Request, error: Exception) -> Response:
    """The client left while it sent."""
    raise ClientLeftError from error
