"""Routes that carry their part of the OpenAPI document, and the document itself."""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from babelclip import __version__
from babelclip.service.schemas.requests import ImageItem, TextItem
from babelclip.service.schemas.responses import ErrorResponse

JSON = "application/json"
DESCRIPTION = "Text in 50+ languages and images in one vector space: embeddings, classification and search."
REFERENCE = "#/components/schemas/{model}"
ERRORS = {
    "400": "The request is invalid; it cost nothing.",
    "401": "No valid key.",
    "403": "The key lacks the scope.",
    "404": "Not found.",
    "408": "The body arrived too slowly.",
    "413": "The body is too large.",
    "415": "The body has another media type.",
    "429": "A limit of the key is reached; Retry-After states when to try again.",
    "500": "Unexpected error.",
    "503": "The service is full, stopping, or waiting for a database; Retry-After states when to try again.",
}

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


def document(routes: Iterable[BaseRoute]) -> dict[str, Any]:
    """Generate the OpenAPI document of routes.

    :param routes: the routes; those that are no ApiRoute are left out
    :return: the document
    """
    described = [route for route in routes if isinstance(route, ApiRoute)]
    paths: dict[str, dict[str, Any]] = {}
    models: set[tuple[type[BaseModel], JsonSchemaMode]] = {
        (ErrorResponse, "serialization"),
        (ImageItem, "validation"),
        (TextItem, "validation"),
    }
    for route in described:
        paths.setdefault(route.path_format, {})[route.method.lower()] = _operation(route)
        if route.request is not None:
            models.add((route.request, "validation"))
        if isinstance(route.response, type):
            models.add((route.response, "serialization"))
    _, schemas = models_json_schema(sorted(models, key=str), ref_template=REFERENCE)
    return {
        "openapi": "3.1.0",
        "info": {"title": "babelclip", "description": DESCRIPTION, "version": __version__},
        "paths": paths,
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: ApiRoute) -> dict[str, Any]:
    """The operation object of a route."""
    content = {JSON: {"schema": _reference(route.response)}} if isinstance(route.response, type) else route.response
    name = f"{route.name}{route.path_format}_{route.method.lower()}"
    operation: dict[str, Any] = {
        "tags": [route.tag],
        "summary": route.name.replace("_", " ").title(),
        "description": route.endpoint.__doc__,
        "operationId": re.sub(r"\W", "_", name),
        "responses": {"200": {"description": route.response_description, "content": content}},
    }
    if parameters := _parameters(route):
        operation["parameters"] = parameters
    if route.request is not None:
        schema = _reference(route.request)
        body = {content_type: {"schema": schema} for content_type in route.request_types}
        operation["requestBody"] = {"required": True, "content": body}
    if route.path.startswith("/v1/") or route.path == "/metrics":
        error = {JSON: {"schema": _reference(ErrorResponse)}}
        errors = {status: {"description": meaning, "content": error} for status, meaning in ERRORS.items()}
        operation["security"] = [{"key": []}]
        operation["responses"] |= errors
    return operation


def _parameters(route: ApiRoute) -> list[dict[str, Any]]:
    """The parameter objects of a route."""
    properties = {name: {"title": name.title(), "type": "string"} for name in route.param_convertors}
    if route.parameters is not None:
        properties = route.parameters.model_json_schema()["properties"]
    parameters = []
    for name, schema in properties.items():
        in_path = name in route.param_convertors
        parameter = {"name": name, "in": "path" if in_path else "query", "required": in_path, "schema": schema}
        if "description" in schema:
            parameter["description"] = schema["description"]
        parameters.append(parameter)
    return parameters


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": REFERENCE.format(model=model.__name__)}
