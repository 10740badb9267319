"""A real server on a port of its own, in a thread of the test's process.

Whatever a test sends it, it must never have answered with a 500.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import uvicorn

from arriero.inference.engine import Engine
from arriero.model.config import ModelConfig
from arriero.model.heads import LanguageModel
from arriero.serving.app import Service, create_app
from arriero.tokenizer import Tokenizer

NAME = "tiny"
MAX_ROWS = 8
CONTEXT = 256
# Nobody draws so many tokens in the time of a test: answers without an end.
ENDLESS = 30_000


def tiny_model(vocab_size: int, context: int = CONTEXT) -> LanguageModel:
    """Random weights: it talks nonsense, with the probabilities of a real model."""
    config = ModelConfig(
        vocab_size=vocab_size,
        dim=32,
        num_layers=2,
        num_heads=4,
        num_kv_heads=2,
        ffn_dim=48,
        context=context,
    )
    return LanguageModel.fresh(config, seed=0).eval()


def tiny_engine(tokenizer: Tokenizer, max_rows: int = MAX_ROWS) -> Engine:
    """An engine of that model."""
    model = tiny_model(tokenizer.vocab_size)
    return Engine(model, ends=tokenizer.special.ends, max_rows=max_rows)


def endless_engine(tokenizer: Tokenizer, max_rows: int = MAX_ROWS) -> Engine:
    """An engine whose answers go on until somebody stops them."""
    return Engine(tiny_model(tokenizer.vocab_size, ENDLESS), ends=(), max_rows=max_rows)


@dataclass(frozen=True)
class Reply:
    """A response, read to its end."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def error(self) -> dict[str, Any]:
        return self.json["error"]


@dataclass(frozen=True)
class Running:
    """A server that answers; `url` has no slash at the end."""

    url: str
    port: int
    service: Service

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        """One request on a connection of its own; a dict is sent as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            raw = json.dumps(body).encode() if isinstance(body, dict) else body
            kind = {"content-type": "application/json"} if raw is not None else {}
            connection.request(method, path, raw, {**kind, **(headers or {})})
            response = connection.getresponse()
            fields = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, fields, response.read().decode())
        finally:
            connection.close()

    def chat(self, **body: Any) -> Reply:
        """POST /v1/chat/completions; asks a short question unless told otherwise."""
        asked = {"messages": [{"role": "user", "content": "the llama"}], "max_tokens": 8}
        return self.ask("POST", "/v1/chat/completions", {**asked, **body})

    def connect(self) -> socket.socket:
        """A bare connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)


@contextlib.contextmanager
def running(engine: Engine, tokenizer: Tokenizer, **options: Any) -> Iterator[Running]:
    """Serve until the block ends; options are create_app's."""
    with serving(create_app(engine, tokenizer, name=NAME, **options)) as found:
        yield found


@contextlib.contextmanager
def serving(service: Service) -> Iterator[Running]:
    """Serve until the block ends."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    port = listener.getsockname()[1]
    config = uvicorn.Config(
        service.app,
        log_level="critical",
        access_log=False,
        ws="none",
        timeout_graceful_shutdown=5,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        until(lambda: server.started, 20)
        yield Running(f"http://127.0.0.1:{port}", port, service)
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()
    assert not thread.is_alive()
    assert 'status="500"' not in service.metrics.render(active=0, waiting=0)


def until(is_so: Callable[[], bool], seconds: float) -> float:
    """Wait for something; returns how long it took, and fails where it takes longer."""
    began = time.monotonic()
    while not is_so():
        assert time.monotonic() - began < seconds, f"not within {seconds} s"
        time.sleep(0.002)
    return time.monotonic() - began


def post(body: dict[str, Any], path: str = "/v1/chat/completions") -> bytes:
    """A request as it goes over the wire."""
    raw = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(raw)}\r\n\r\n".encode() + raw
