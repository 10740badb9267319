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
from typing import Protocol

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from arriero.inference.engine import Engine
from arriero.serving import metrics
from arriero.serving.answering import Answering, answer, wrong_model
from arriero.serving.checks import Check
from arriero.serving.choices import TokenTexts
from arriero.serving.faults import ApiError, error_response, json_response
from arriero.serving.fields import Body
from arriero.serving.guards import check_sender
from arriero.serving.pages import load_pages, page_response
from arriero.serving.requests import Request, read_chat, read_completion
from arriero.serving.score_worker import ScoreWorker
from arriero.serving.scoring import SCORE_PATH, RewardModel, Scoring, answer_score
from arriero.serving.worker import Worker
from arriero.tokenizer.tokenizer import Tokenizer

_log = logging.getLogger(__name__)

DEFAULT_MAX_ROWS = 64
DEFAULT_MAX_QUEUE = 256
DEFAULT_MAX_BODY = 4 << 20


class Part(Protocol):
    """What computes: a worker that draws, or one that scores."""

    is_stopping: bool
    fault: str | None

    @property
    def num_open(self) -> int: ...
    @property
    def num_active(self) -> int: ...
    @property
    def num_waiting(self) -> int: ...
    def start(self) -> None: ...
    def end_all(self) -> None: ...
    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Service:
    """What the server is made of; `app` is what an ASGI server runs.

    Attributes:
        parts: what computes; the chat model's worker first, where there is one.
    """

    app: ASGIApp
    parts: tuple[Part, ...]
    metrics: metrics.Metrics

    @property
    def worker(self) -> Part:
        """The first part."""
        return self.parts[0]

    @property
    def num_open(self) -> int:
        """Sequences under way."""
        return sum(part.num_open for part in self.parts)

    def stop(self) -> None:
        """Take no more requests."""
        for part in self.parts:
            part.is_stopping = True

    def end_all(self) -> None:
        """End what is under way with an error, since the server stops."""
        for part in self.parts:
            part.end_all()


def create_app(
    engine: Engine,
    tokenizer: Tokenizer,
    *,
    name: str,
    api_key: str | None = None,
    check: Check | None = None,
    max_queue: int = DEFAULT_MAX_QUEUE,
    max_body: int = DEFAULT_MAX_BODY,
    reward: RewardModel | None = None,
) -> Service:
    """A server of one model; the engine belongs to it from here on.

    Args:
        name: what clients call the model.
        api_key: what /v1 and /metrics ask for. Without one only this machine is answered.
        check: a safety check on input and output; with one, an answer is held back until it is
            whole and checked, streamed or not.
        max_queue: sequences that may wait for a row; beyond them clients are asked to come again.
        max_body: bytes of a request.
        reward: a reward model that answers /v1/score beside the chat, with a queue of its own of
            the same size.
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

    def chat(body: Body) -> Request:
        return read_chat(body, max_choices=engine.max_rows)

    def completion(body: Body) -> Request:
        return read_completion(body, max_choices=engine.max_rows, vocab_size=engine.vocab_size)

    def endpoint(read: Callable[[Body], Request]) -> Callable[[HttpRequest], object]:
        async def respond(request: HttpRequest) -> ASGIApp:
            return await answer(answering, read, request)

        return respond

    routes = [
        Route("/v1/chat/completions", endpoint(chat), methods=["POST"]),
        Route("/v1/completions", endpoint(completion), methods=["POST"]),
        *page_routes(),
    ]
    parts: list[Part] = [worker]
    names = [name]
    if reward is not None:
        scores = ScoreWorker(reward.score, max_rows=engine.max_rows, max_queue=max_queue)
        routes.append(score_route(Scoring(reward, scores, counts, max_body)))
        parts.append(scores)
        names.append(reward.name)
    return assemble(routes, parts, names, counts, api_key)


def create_score_app(
    reward: RewardModel,
    *,
    api_key: str | None = None,
    max_rows: int = DEFAULT_MAX_ROWS,
    max_queue: int = DEFAULT_MAX_QUEUE,
    max_body: int = DEFAULT_MAX_BODY,
) -> Service:
    """A server of a reward model alone; the arguments are those of `create_app`.

    Args:
        max_rows: dialogs that are scored together.
    """
    counts = metrics.Metrics()
    worker = ScoreWorker(reward.score, max_rows=max_rows, max_queue=max_queue)
    routes = [score_route(Scoring(reward, worker, counts, max_body))]
    return assemble(routes, [worker], [reward.name], counts, api_key)


def score_route(scoring: Scoring) -> Route:
    """POST /v1/score."""

    async def respond(request: HttpRequest) -> Response:
        return await answer_score(scoring, request)

    return Route(SCORE_PATH, respond, methods=["POST"])


def page_routes() -> list[Route]:
    """The files of the chat page."""
    pages = load_pages()

    async def page(request: HttpRequest) -> Response:
        return page_response(pages[request.url.path], request)

    return [Route(path, page) for path in pages]


def assemble(
    routes: Sequence[Route],
    parts: Sequence[Part],
    names: Sequence[str],
    counts: metrics.Metrics,
    api_key: str | None,
) -> Service:
    """Routes with those that look after the server, behind the checks of who asks.

    Args:
        parts: what computes; the first one's state is the server's.
        names: of the models, the first one the server's own.
    """
    created = int(time.time())
    models = {
        name: {"id": name, "object": "model", "created": created, "owned_by": "arriero"}
        for name in names
    }

    async def list_models(_: HttpRequest) -> Response:
        return json_response({"object": "list", "data": list(models.values())})

    async def one_model(request: HttpRequest) -> Response:
        asked = request.path_params["model"]
        if asked not in models:
            wrong_model(asked, " and ".join(names))
        return json_response(models[asked])

    async def health(_: HttpRequest) -> Response:
        state = "stopping" if parts[0].is_stopping else "ok"
        if parts[0].fault is not None:
            state = "engine stopped"
        body = {"status": state, "model": names[0], **_counted(parts)}
        return json_response(body, 200 if state == "ok" else 503)

    async def show_metrics(_: HttpRequest) -> Response:
        text = counts.render(**_counted(parts))
        return Response(text, headers={"content-type": metrics.CONTENT_TYPE})

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        for part in parts:
            part.start()
        yield
        for part in parts:
            await part.close()

    app = Starlette(
        routes=[
            *routes,
            Route("/v1/models", list_models),
            Route("/v1/models/{model:path}", one_model),
            Route("/health", health),
            Route("/metrics", show_metrics),
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
    return Service(_guarded(app, counts, api_key, known), tuple(parts), counts)


def _counted(parts: Sequence[Part]) -> dict[str, int]:
    return {
        "active": sum(part.num_active for part in parts),
        "waiting": sum(part.num_waiting for part in parts),
    }


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
