"""JSON over HTTP with a server on this machine; what is under way can be broken off."""

from __future__ import annotations

import http.client
import json
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

from arriero.records import UserError

_MOST_BYTES = 64 << 20
_MOST_SAID = 300


def loopback_address(url: str) -> tuple[str, int]:
    """Host and port of an address such as http://127.0.0.1:8000.

    Raises:
        ValueError: it is none, or leads to another machine.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        port, is_here = parts.port, host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        port, is_here = None, False
    is_plain = parts.scheme == "http" and parts.path in ("", "/") and not parts.query
    if not is_here or port is None or not is_plain or parts.username is not None:
        raise ValueError(f"{url}: no address on this machine; write http://127.0.0.1:PORT")
    return host, port


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer of the server that is no success.

    Attributes:
        status: the number of HTTP.
        said: what the server says, on one line; may be empty.
    """

    status: int
    said: str


@dataclass
class Loopback:
    """Asks the server behind an address of this machine; from several threads at once, if need be.

    No proxy is used, whatever the environment says, and no redirect followed.

    Attributes:
        timeout: seconds that the server may be silent for; an answer that is sampled as a whole
            comes after a silence as long as the sampling.
    """

    url: str
    timeout: float = 1800.0
    _open: set[http.client.HTTPConnection] = field(default_factory=set)
    _lock: Lock = field(default_factory=Lock)

    def ask(self, path: str, body: object = None) -> Any:
        """What the server answers: a JSON value, None for an empty answer, or a Refusal.

        Args:
            body: is posted as JSON; None gets the path instead.

        Raises:
            UserError: nobody is there, the answer does not come, or is no JSON.
        """
        connection = http.client.HTTPConnection(*loopback_address(self.url), timeout=self.timeout)
        with self._lock:
            self._open.add(connection)
        try:
            headers = {"content-type": "application/json", "connection": "close"}
            data = None if body is None else json.dumps(body).encode()
            connection.connect()
            with self._lock:
                if connection not in self._open:
                    raise ConnectionAbortedError("broken off")
            connection.request("GET" if body is None else "POST", path, data, headers)
            # Closed with its own end of the socket, also where the answer breaks off.
            with connection.getresponse() as reply:
                raw = reply.read(_MOST_BYTES + 1)
        except TimeoutError:
            raise UserError(
                f"{self.url}: no answer to {path} within {self.timeout:g} s; see what the server "
                "says"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            why = str(error) or type(error).__name__
            raise UserError(f"{self.url}: {why}; is vLLM still running there?") from None
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()
        if reply.status != 200:
            return Refusal(reply.status, _said(raw))
        if len(raw) > _MOST_BYTES:
            raise UserError(f"{self.url}: the answer to {path} is too large")
        try:
            return json.loads(raw) if raw else None
        except ValueError:
            raise UserError(f"{self.url}: the answer to {path} is no JSON") from None

    def break_off(self) -> None:
        """End all that is being asked; each `ask` under way raises UserError in its thread."""
        with self._lock:
            for connection in self._open:
                if connection.sock is not None:
                    with suppress(OSError):  # it has just ended by itself
                        connection.sock.shutdown(socket.SHUT_RDWR)
            self._open.clear()  # who has not connected yet is told by that


def _said(raw: bytes) -> str:
    """The message in a server's error, on one line and not too long."""
    text = raw.decode("utf-8", "replace")
    try:
        body = json.loads(text)
        error = body.get("error", body)
        text = str(error.get("message", error.get("detail", text)))
    except (ValueError, AttributeError):
        pass
    line = " ".join(text.split())
    return line if len(line) <= _MOST_SAID else line[:_MOST_SAID] + " ..."
