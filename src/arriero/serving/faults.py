"""What goes wrong with a request, as OpenAI's clients expect to hear it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType

from starlette.responses import Response

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})
_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class ApiError(Exception):
    """A request that gets an error instead of an answer; says what to mend.

    Attributes:
        status: of HTTP. 4xx: the request's fault, 503: not now.
        param: the key of the body that is at fault.
        code: a word that programs can act on, such as `context_length_exceeded`.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.headers = headers

    @property
    def body(self) -> dict[str, object]:
        """The error as an object."""
        other = "server_error" if self.status >= 500 else "invalid_request_error"
        kind = _TYPES.get(self.status, other)
        return {
            "error": {
                "message": self.message,
                "type": kind,
                "param": self.param,
                "code": self.code,
            }
        }


def error_response(error: ApiError) -> Response:
    """The error as a response."""
    return json_response(error.body, error.status, error.headers)


def json_response(
    value: object, status: int = 200, headers: Mapping[str, str] = _NO_HEADERS
) -> Response:
    """A JSON response in UTF-8."""
    return Response(json_bytes(value), status, dict(headers), media_type="application/json")


def json_bytes(value: object) -> bytes:
    """JSON in UTF-8; half a surrogate pair, which a client may have sent, becomes `?`."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode("utf-8", "replace")
