"""The OpenAPI document: routes read their bodies themselves, after the key was checked, and say here what they take."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from babelclip import __version__
from babelclip.service.schemas.requests import ImageItem, TextItem
from babelclip.service.schemas.responses import ErrorReply

_REF = "#/components/schemas/{model}"
_FORMS: set[type[BaseModel]] = {ErrorReply, ImageItem, TextItem}
_ERRORS = {
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


def takes(form: type[BaseModel], *kinds: str) -> dict[str, Any]:
    """What a route takes, for its ``openapi_extra``.

    :param form: of its body
    :param *kinds: content types beside application/json
    :return: the part of the OpenAPI document
    """
    _FORMS.add(form)
    schema = {"$ref": _REF.format(model=form.__name__)}
    content = {kind: {"schema": schema} for kind in ("application/json", *kinds)}
    return {"requestBody": {"required": True, "content": content}}


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of an application, made once.

    :param app: the application
    :return: the document
    """
    if app.openapi_schema is None:
        made = get_openapi(title="babelclip", version=__version__, description=app.description, routes=app.routes)
        _, forms = models_json_schema([(form, "validation") for form in sorted(_FORMS, key=str)], ref_template=_REF)
        schemas = made.setdefault("components", {}).setdefault("schemas", {})
        schemas.update(forms.get("$defs", {}))
        error = {"application/json": {"schema": {"$ref": _REF.format(model="ErrorReply")}}}
        errors = {status: {"description": meaning, "content": error} for status, meaning in _ERRORS.items()}
        for path, methods in made["paths"].items():
            for operation in methods.values():
                operation["responses"].pop("422", None)
                if path.startswith("/v1/") or path == "/metrics":
                    operation["security"] = [{"key": []}]
                    operation["responses"] = operation["responses"] | errors | operation["responses"]
        made["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        app.openapi_schema = made
    return app.openapi_schema
