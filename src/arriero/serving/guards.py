"""Who may ask, and how much they may send."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Receive

from arriero.records import UserError
from arriero.serving.faults import ApiError

# A body that is refused is still read for a while: a client that is cut off while it sends may
# never see why.
_DRAINED_BYTES = 64 << 20
_DRAIN_SECONDS = 2.0

_BODY_SECONDS = 60.0


class Disconnected(Exception):  # noqa: N818 - no fault, an end
    """The client has gone away."""


def is_loopback(host: str) -> bool:
    """Whether an address or a name reaches this machine alone."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_address(host: str, api_key: str | None) -> None:
    """Raise UserError for a key that no header can carry, and for an open server without one."""
    if api_key is not None and not (api_key.isascii() and api_key.isprintable() and api_key):
        raise UserError("the API key should be visible ASCII characters")
    if api_key is not None and " " in api_key:
        raise UserError("the API key should have no spaces")
    if api_key is None and not is_loopback(host):
        raise UserError(
            f"{host} is open to other machines and needs a key: set ARRIERO_API_KEY or --api-key"
        )


def check_sender(headers: Headers, path: str, api_key: str | None) -> None:
    """Let in who has the key; without a key only this machine, and no page of other sites.

    A browser can be made to send requests here, by a page or through a name that an attacker
    points at this machine (DNS rebinding). Neither knows the key; without one, the Host header has
    to name this machine, and the Origin header, if there is one, the same place.

    Raises:
        ApiError: 401 or 403.
    """
    if api_key is not None:
        if path.startswith("/v1") or path == "/metrics":
            _check_key(headers, api_key)
        return
    host = headers.get("host", "")
    if not is_loopback(_name_of(host)):
        raise ApiError(403, "this server answers to localhost alone unless it has an API key")
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
        raise ApiError(403, "requests from pages of other sites are refused")


def _name_of(host: str) -> str:
    """The name in a Host header, without the port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _check_key(headers: Headers, api_key: str) -> None:
    scheme, _, given = headers.get("authorization", "").partition(" ")
    is_bearer = scheme.lower() == "bearer"
    # Headers are decoded as Latin-1. The comparison takes as long for a near miss as for a far one.
    is_right = hmac.compare_digest(given.strip().encode("latin-1"), api_key.encode())
    if not (is_bearer and is_right):
        raise ApiError(
            401,
            "a valid key is needed: send it as 'Authorization: Bearer KEY'",
            code="invalid_api_key",
            headers={"www-authenticate": "Bearer"},
        )


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The body of a request, with or without a length.

    Raises:
        ApiError: 400 for a wrong length, 408 for one that does not come, 413 for one that is too
            large, 415 for one that is not JSON.
        Disconnected: the client went away.
    """
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip()
    if kind.lower() != "application/json":
        raise ApiError(415, "the body should have the content-type application/json")
    declared = request.headers.get("content-length")
    if declared is not None and not declared.isdecimal():
        raise ApiError(400, "content-length is no number")
    is_too_large = declared is not None and int(declared[:20]) > max_bytes
    parts: list[bytes] = []
    size, has_more = 0, True
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            while has_more and not is_too_large:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise Disconnected
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                has_more = message.get("more_body", False)
                is_too_large = size > max_bytes
    except TimeoutError:
        raise ApiError(408, "the body did not come", headers={"connection": "close"}) from None
    if is_too_large:
        parts.clear()
        if has_more and "expect" not in request.headers:
            await _drain(request.receive)
        raise ApiError(
            413,
            f"the body is larger than {max_bytes:,} bytes",
            code="body_too_large",
            headers={"connection": "close"},
        )
    return b"".join(parts)


async def _drain(receive: Receive) -> None:
    size = 0
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            while size < _DRAINED_BYTES:
                message = await receive()
                size += len(message.get("body", b""))
                if not message.get("more_body", False):
                    return
    except TimeoutError:
        return
