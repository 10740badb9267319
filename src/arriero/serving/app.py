"""The server's paths: OpenAI's, and those that look after the server.

Plain Starlette without pydantic bodies: every mistake in a body gets an error in OpenAI's shape,
and an event of a stream costs one string and one write.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import PurePath

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from arriero.inference.engine import Engine
from arriero.serving import metrics
from arriero.serving.answering import Answering, answer
from arriero.serving.checks import Check
from arriero.serving.choices import TokenTexts
from arriero.serving.faults import ApiError, error_response, json_response
from arriero.serving.fields import Body
from arriero.serving.guards import check_sender
from arriero.serving.pages import load_pages, page_response
from arriero.serving.requests import Request, read_chat, read_completion
from arriero.serving.worker import Worker
from arriero.tokenizer.tokenizer import Tokenizer

_log = logging.getLogger(__name__)

DEFAULT_MAX_QUEUE = 256
DEFAULT_MAX_BODY = 4 << 20


@dataclass(frozen=True, slots=True)
class Service:
    """What the server is made of; `app` is what an ASGI server runs."""

    app: ASGIApp
    worker: Worker
    metrics: metrics.Metrics


def create_app(
    engine: Engine,
    tokenizer: Tokenizer,
    *,
    name: str,
    api_key: str | None = None,
    check: Check | None = None,
    max_queue: int = DEFAULT_MAX_QUEUE,
    max_body: int = DEFAULT_MAX_BODY,
) -> Service:
    """A server of one model; the engine belongs to it from here on.

    Args:
        name: what clients call the model.
        api_key: what /v1 and /metrics ask for. Without one only this machine is answered.
        check: a safety check on input and output; with one, an answer is held back until it is
            whole and checked, streamed or not.
        max_queue: sequences that may wait for a row; beyond them clients are asked to come again.
        max_body: bytes of a request.
    """
    counts = metrics.Metrics()
    worker = Worker(engine, counts, max_queue=max_queue)
    answering = Answering(
        worker=worker,
        tokenizer=tokenizer,
        texts=TokenTexts(tokenizer),
        metrics=counts,
        name=name,
        context=engine.num_slots,
        max_body=max_body,
        check=check,
    )
    created = int(time.time())
    model = {"id": name, "object": "model", "created": created, "owned_by": "arriero"}
    pages = load_pages()

    def chat(body: Body) -> Request:
        return read_chat(body, max_choices=engine.max_rows)

    def completion(body: Body) -> Request:
        return read_completion(body, max_choices=engine.max_rows, vocab_size=engine.vocab_size)

    def endpoint(read: Callable[[Body], Request]) -> Callable[[HttpRequest], object]:
        async def respond(request: HttpRequest) -> ASGIApp:
            return await answer(answering, read, request)

        return respond

    async def list_models(_: HttpRequest) -> Response:
        return json_response({"object": "list", "data": [model]})

    async def one_model(request: HttpRequest) -> Response:
        asked = request.path_params["model"]
        if asked != name:
            answering.check_model(asked)
        return json_response(model)

    async def health(_: HttpRequest) -> Response:
        state = "stopping" if worker.is_stopping else "ok"
        if worker.fault is not None:
            state = "engine stopped"
        counted = {"active": worker.num_active, "waiting": worker.num_waiting}
        body = {"status": state, "model": name, **counted}
        return json_response(body, 200 if state == "ok" else 503)

    async def show_metrics(_: HttpRequest) -> Response:
        text = counts.render(active=worker.num_active, waiting=worker.num_waiting)
        return Response(text, headers={"content-type": metrics.CONTENT_TYPE})

    async def page(request: HttpRequest) -> Response:
        return page_response(pages[request.url.path], request)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        worker.start()
        yield
        await worker.close()

    app = Starlette(
        routes=[
            Route("/v1/chat/completions", endpoint(chat), methods=["POST"]),
            Route("/v1/completions", endpoint(completion), methods=["POST"]),
            Route("/v1/models", list_models),
            Route("/v1/models/{model:path}", one_model),
            Route("/health", health),
            Route("/metrics", show_metrics),
            *(Route(path, page) for path in pages),
        ],
        exception_handlers={
            ApiError: _on_api_error,
            HTTPException: _on_http_error,
            Exception: _on_fault,
        },
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    known = {route.path for route in app.routes if isinstance(route, Route)}
    return Service(_guarded(app, counts, api_key, known), worker, counts)


def served_name(folder: PurePath) -> str:
    """What clients call the model of a folder: `runs/tiny/08-ppo-v1/model` is `08-ppo-v1`."""
    parts = [part for part in folder.parts if part not in ("/", ".", "..")]
    if len(parts) > 1 and parts[-1] == "model":
        parts.pop()
    return parts[-1] if parts else "model"


def _guarded(
    app: ASGIApp, counts: metrics.Metrics, api_key: str | None, known: Sequence[str] | set[str]
) -> ASGIApp:
    """The app behind the checks of who asks; counts every response."""

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        path: str = scope["path"]

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                counts.count_request(path if path in known else "other", message["status"])
            await send(message)

        try:
            check_sender(Headers(scope=scope), path, api_key)
        except ApiError as error:
            await error_response(error)(scope, receive, counted)
            return
        await app(scope, receive, counted)

    return handle


async def _on_api_error(_: HttpRequest, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error_response(error)


async def _on_http_error(request: HttpRequest, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    match error.status_code:
        case 404:
            message = f"there is no path {request.url.path}"
        case 405:
            message = f"{request.url.path} does not take {request.method}"
        case _:
            message = str(error.detail)
    return error_response(ApiError(error.status_code, message, headers=error.headers or {}))


async def _on_fault(_: HttpRequest, error: Exception) -> Response:
    _log.error("a request failed unexpectedly", exc_info=error)
    return error_response(ApiError(500, "internal error; the server's log says more"))
