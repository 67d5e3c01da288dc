"""What goes wrong, as clients see it: the OpenAI envelope and a status."""

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
    """An answer that is an error."""

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
        """Describe the answer.

        :param status: of HTTP
        :param message: what is wrong, the limit and the way out
        :param kind: the envelope's type
        :param code: a word for programs
        :param param: the field that is wrong
        :param headers: of the answer
        """
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.code = code
        self.param = param
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """The answer.

        :return: a response in the form of OpenAI's errors
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
    """An answer in JSON; arrays of numpy are lists of numbers.

    :param content: what it holds
    :param status: of HTTP
    :param headers: of the answer
    :return: the response
    """
    body = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(body, status, dict(headers or {}), "application/json")


def unauthorized(message: str, code: str = "invalid_api_key") -> ApiError:
    """An answer to a client that shows no valid key.

    :param message: what is wrong with it
    :param code: a word for programs
    :return: the error
    """
    return ApiError(401, message, kind="authentication_error", code=code, headers={"www-authenticate": "Bearer"})


def too_many(message: str, retry_seconds: int, code: str) -> ApiError:
    """An answer to a client that is over a limit.

    :param message: which limit
    :param retry_seconds: when to try again
    :param code: a word for programs
    :return: the error
    """
    kind = "insufficient_quota" if code == "insufficient_quota" else "rate_limit_error"
    return ApiError(429, message, kind=kind, code=code, headers={"retry-after": str(retry_seconds)})


def as_api_error(error: Exception, request_id: str) -> ApiError:
    """What a client is told of an error.

    :param error: any
    :param request_id: which the log has too
    :return: the answer; what was not expected is a fixed sentence, and goes to the log
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
        message = f"a store that the service needs does not answer; nothing was done or charged (request {request_id})"
        return ApiError(503, message, kind="server_error", code="store_unavailable", headers=headers)
    # Not the message itself: it may quote what a client sent.
    LOG.error("%s: %s\n%s", request_id, type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))
    message = f"something went wrong here; nothing was charged. The log has it as request {request_id}"
    return ApiError(500, message, kind="server_error", code="internal_error")
