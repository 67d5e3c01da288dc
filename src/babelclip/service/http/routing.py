"""Routes that carry what the OpenAPI document says about them."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

JSON = "application/json"

Endpoint = Callable[[Request], Awaitable[Response]]


class ApiRoute(Route):
    """A route of one HTTP method, with its part of the OpenAPI document."""

    def __init__(
        self,
        method: str,
        path: str,
        endpoint: Endpoint,
        *,
        tag: str,
        response: type[BaseModel] | Mapping[str, Any],
        response_description: str = "Successful Response",
        request: type[BaseModel] | None = None,
        request_types: tuple[str, ...] = (JSON,),
        parameters: type[BaseModel] | None = None,
    ) -> None:
        """Create a route.

        :param method: the HTTP method
        :param path: the path template
        :param endpoint: the function that answers; its docstring is the description
        :param tag: the group of the route in the document
        :param response: schema of the JSON response, or content type -> media type object
        :param response_description: description of the response
        :param request: schema of the request body, if there is one
        :param request_types: content types of the request body
        :param parameters: schema of the path and query parameters; without it, parameters of the path are strings
        """
        super().__init__(path, endpoint, methods=[method])
        # Starlette adds HEAD to GET, which no route here answers.
        self.methods = {method}
        self.method = method
        self.tag = tag
        self.response = response
        self.response_description = response_description
        self.request = request
        self.request_types = request_types
        self.parameters = parameters
