"""The way past FastAPI's router, for the routes that are asked all the time.

A route that reads its own body needs nothing of what FastAPI does for it on every request, which takes as long as all
the rest of a short answer. FastAPI's own way stays there, and gives the same.
"""

from collections.abc import Iterable

from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect, Request
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from babelclip.service.errors import as_api_error
from babelclip.service.http.middleware import ClientLeftError


class Shortcut:
    """ASGI middleware, the innermost."""

    def __init__(self, app: ASGIApp, *, routes: Iterable[BaseRoute]) -> None:
        """Stand before a router.

        :param app: the router
        :param routes: those that take a request alone and give a response; their paths hold no parameters
        """
        self._app = app
        self._routes = {
            (method, route.path): route
            for route in routes
            if isinstance(route, APIRoute)
            for method in route.methods or ()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection's request."""
        route = None
        if scope["type"] == "http" and not scope.get("root_path"):
            route = self._routes.get((scope["method"], scope["path"]))
        if route is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = route
        try:
            response = await route.endpoint(Request(scope, receive, send))
        except (ClientLeftError, ClientDisconnect):
            raise
        except Exception as error:
            response = as_api_error(error, scope["state"]["request_id"]).response()
        await response(scope, receive, send)
