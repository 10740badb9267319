"""A judge of one's own making: a real server on this machine that says what a test tells it."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, dict[str, str], bytes]


def said(content: object, status: int = 200, **headers: str) -> Reply:
    body = {"choices": [{"message": {"role": "assistant", "content": content}}]}
    return status, headers, json.dumps(body).encode()


@dataclass
class Stub:
    """A server on this machine; `say` makes a reply of the n-th request and its body."""

    url: str = ""
    say: Callable[[int, dict[str, Any]], Reply] = lambda number, body: said("A")
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    most_at_once: int = 0


def longer(_: int, body: dict[str, Any]) -> Reply:
    """A judge that reads: it takes the longer answer, wherever it stands."""
    text = body["messages"][0]["content"]
    a, _, rest = text.partition("# Answer A\n\n")[2].partition("\n\n# Answer B\n\n")
    return said("A" if len(a) > len(rest.partition("\n\n")[0]) else "B")


@contextlib.contextmanager
def stubbed() -> Iterator[Stub]:
    """Serve until the block ends."""
    found = Stub()
    lock = threading.Lock()
    active = 0

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer({})

        def do_POST(self) -> None:
            nonlocal active
            with lock:
                active += 1
                found.most_at_once = max(found.most_at_once, active)
            length = int(self.headers["content-length"])
            self.answer(json.loads(self.rfile.read(length)))
            with lock:
                active -= 1

        def answer(self, body: dict[str, Any]) -> None:
            with lock:
                number = len(found.asked)
                found.asked.append(body)
                found.keys.append(self.headers.get("authorization"))
            status, headers, raw = found.say(number, body)
            self.send_response(status)
            for name, value in {"content-length": str(len(raw)), **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(raw)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
