"""Parsing of request bodies and parameters by their schemas; an error names the first invalid field."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from babelclip.service.errors import ApiError

SchemaT = TypeVar("SchemaT", bound=BaseModel)


def parse_json(body: bytes, schema: type[SchemaT]) -> SchemaT:
    """Parse a JSON body.

    :param body: the JSON text
    :param schema: its schema
    :return: the parsed body
    :raises ApiError: 400, if it does not match the schema
    """
    try:
        return schema.model_validate_json(body)
    except ValidationError as error:
        raise _invalid(error) from None


def parse_parameters(parameters: Mapping[str, Any], schema: type[SchemaT]) -> SchemaT:
    """Parse the parameters of a path and query.

    :param parameters: name -> text
    :param schema: their schema
    :return: the parsed parameters
    :raises ApiError: 400, if they do not match the schema
    """
    try:
        return schema.model_validate(parameters)
    except ValidationError as error:
        raise _invalid(error) from None


def _invalid(error: ValidationError) -> ApiError:
    """The error of the first invalid field."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or None
    code = "invalid_json" if first["type"] == "json_invalid" else "invalid_value"
    message = first["msg"].removeprefix("Value error, ")
    return ApiError(400, f"{field}: {message}" if field else message, code=code, param=field)
