"""Errors as clients see them: OpenAI's error envelope and an HTTP status."""

import logging
import traceback
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.responses import Response

from babelclip.errors import BusyError, ImageError, ImageTooLargeError, InputError, StoreError

LOG = logging.getLogger("babelclip.service")
STORE_RETRY_SECONDS = 5


class ApiError(Exception):
    """An error response."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Describe the response.

        :param status: HTTP status
        :param message: the problem, the limit and the way out
        :param kind: type of the error
        :param code: machine-readable code
        :param param: the invalid field
        :param headers: headers of the response
        """
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.code = code
        self.param = param
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """Build the response.

        :return: a response with OpenAI's error envelope
        """
        error = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return json_response({"error": error}, status=self.status, headers=self.headers)


class TextTooLongError(InputError):
    """A text has more tokens than the limit, and the request does not set ``truncate``."""

    def __init__(self, position: int, tokens: int, limit: int) -> None:
        """Describe the text.

        :param position: position of the text in the request
        :param tokens: number of its tokens
        :param limit: the limit
        """
        super().__init__(
            f"input {position} has {tokens} tokens, over the limit of {limit}; shorten it, "
            'or send "truncate": true to have it cut'
        )


def json_response(content: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Build a JSON response; numpy arrays become lists of numbers.

    :param content: the content
    :param status: HTTP status
    :param headers: headers of the response
    :return: the response
    """
    body = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(body, status, dict(headers or {}), "application/json")


def unauthorized(message: str, code: str = "invalid_api_key") -> ApiError:
    """Build the error for a missing or invalid API key.

    :param message: the problem
    :param code: machine-readable code
    :return: the error
    """
    return ApiError(401, message, kind="authentication_error", code=code, headers={"www-authenticate": "Bearer"})


def too_many(message: str, retry_seconds: int, code: str) -> ApiError:
    """Build the error for a rate limit or quota that is reached.

    :param message: the limit
    :param retry_seconds: seconds until a new attempt can succeed
    :param code: machine-readable code
    :return: the error
    """
    kind = "insufficient_quota" if code == "insufficient_quota" else "rate_limit_error"
    return ApiError(429, message, kind=kind, code=code, headers={"retry-after": str(retry_seconds)})


def as_api_error(error: Exception, request_id: str) -> ApiError:
    """Map an exception to an error response.

    :param error: any exception
    :param request_id: id of the request, for the log
    :return: the response; an unexpected exception becomes a fixed sentence and is logged
    """
    if isinstance(error, ApiError):
        return error
    if isinstance(error, TextTooLongError):
        return ApiError(400, str(error), code="context_length_exceeded", param="input")
    if isinstance(error, ImageTooLargeError):
        return ApiError(400, str(error), code="image_too_large", param="image")
    if isinstance(error, ImageError):
        return ApiError(400, str(error), code="invalid_image", param="image")
    if isinstance(error, InputError):
        return ApiError(400, str(error), code="invalid_value")
    if isinstance(error, BusyError):
        headers = {"retry-after": str(error.retry_seconds)}
        return ApiError(503, f"{error}", kind="server_error", code="overloaded", headers=headers)
    if isinstance(error, StoreError):
        LOG.error("%s: %s", request_id, error)
        headers = {"retry-after": str(STORE_RETRY_SECONDS)}
        message = f"a database of the service does not respond; nothing was charged (request {request_id})"
        return ApiError(503, message, kind="server_error", code="store_unavailable", headers=headers)
    # Without the message of the exception, which may quote the client's input.
    LOG.error("%s: %s\n%s", request_id, type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))
    message = f"unexpected error; nothing was charged. The log has the details under request {request_id}"
    return ApiError(500, message, kind="server_error", code="internal_error")
