"""From a request to its response: read, encode, check, draw, check, say."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from arriero.records import Message
from arriero.serving.answers import EventWriter, Sheet, failure_event, whole_answer
from arriero.serving.checks import Check
from arriero.serving.choices import Choice, TokenTexts
from arriero.serving.faults import ApiError
from arriero.serving.fields import Body, parse_body, shown, wrong_type
from arriero.serving.guards import Disconnected, read_body
from arriero.serving.metrics import Metrics
from arriero.serving.prompts import as_dialogs, encode, orders, text_stream
from arriero.serving.requests import Request
from arriero.serving.worker import Job, Worker
from arriero.tokenizer.tokenizer import Tokenizer

_log = logging.getLogger(__name__)

# A client that takes nothing for so long is gone.
_SEND_SECONDS = 60.0

_STREAM_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "x-accel-buffering": "no",
}


@dataclass(frozen=True, slots=True)
class Answering:
    """What is needed to answer. `context` is the longest sequence in tokens."""

    worker: Worker
    tokenizer: Tokenizer
    texts: TokenTexts
    metrics: Metrics
    name: str
    context: int
    max_body: int
    check: Check | None

    def check_model(self, asked: object) -> None:
        """Raise ApiError unless this is the model, or none is named."""
        if asked is not None and asked != self.name:
            wrong_model(asked, self.name)


def wrong_model(asked: object, name: str) -> NoReturn:
    """Raise the error of a request for another model than the one that is here."""
    if not isinstance(asked, str):
        wrong_type("model", "a string", asked)
    raise ApiError(
        404,
        f"there is no model {shown(asked)}; this server has {name}",
        param="model",
        code="model_not_found",
    )


@dataclass(slots=True)
class _Task:
    """A request under way; `refusals` has what a check says instead of a choice, or None."""

    request: Request
    dialogs: Sequence[tuple[Message, ...]]
    job: Job
    choices: list[Choice]
    refusals: list[str | None]
    sheet: Sheet


async def answer(service: Answering, read: Callable[[Body], Request], http: HttpRequest) -> ASGIApp:
    """Answer one request; what comes back writes the response.

    Raises:
        ApiError: of whatever is wrong with the request, or with this moment.
    """
    began = time.perf_counter()
    try:
        with service.worker.arriving():
            body = parse_body(await read_body(http, service.max_body))
            service.check_model(body.get("model"))
            task = await _start(service, read(body), began)
        if task.request.is_streamed and service.check is None:
            return _streamed(service.worker, task)
        async with _watched(http.receive, service.worker, task.job):
            while not task.job.is_done:
                await task.job.changed.wait()
            _raise_for(task.job)
            await _check_answers(service, task)
    except Disconnected:
        return Response(status_code=499)
    if task.request.is_streamed:
        return Response(_events(task), headers=_STREAM_HEADERS)
    content = whole_answer(task.sheet, task.choices, task.refusals)
    return Response(content, media_type="application/json")


async def _start(service: Answering, request: Request, began: float) -> _Task:
    """Encode and check a request, and hand what is to be drawn to the engine."""
    prompts = await encode(service.tokenizer, request, service.context)
    dialogs: Sequence[tuple[Message, ...]] = ()
    refusals: list[str | None] = [None] * len(prompts)
    if service.check is not None:
        dialogs = as_dialogs(service.tokenizer, request)
        refusals = [await _refusal(service.check, dialog, None) for dialog in dialogs]
    choices = [
        Choice(text_stream(service.tokenizer, request, prompt))
        for prompt in prompts
        for _ in range(request.n)
    ]
    of_choices = [refusal for refusal in refusals for _ in range(request.n)]
    wanted = [place for place, refusal in enumerate(of_choices) if refusal is None]
    asked = orders(request, prompts, service.context)
    job = Job(
        orders=[asked[place] for place in wanted],
        takers=[choices[place] for place in wanted],
        wakes_often=request.is_streamed and service.check is None,
        began=began,
    )
    service.worker.submit(job)
    num_prompt_tokens = sum(map(len, prompts))
    service.metrics.prompt_tokens += num_prompt_tokens
    sheet = Sheet.new(
        is_chat=request.is_chat,
        created=int(time.time()),
        model=service.name,
        num_prompt_tokens=num_prompt_tokens,
        texts=None if request.num_alternatives is None else service.texts,
        with_usage=request.with_usage,
    )
    return _Task(request, dialogs, job, choices, of_choices, sheet)


@contextlib.asynccontextmanager
async def _watched(receive: Receive, worker: Worker, job: Job) -> AsyncIterator[None]:
    """Free the job's rows at the end, whatever ends it; the client's going away does."""

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        worker.cancel(job)

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
        worker.cancel(job)


def _raise_for(job: Job) -> None:
    if job.failure is not None:
        raise job.failure
    if job.is_cancelled:
        raise Disconnected


async def _check_answers(service: Answering, task: _Task) -> None:
    if service.check is None:
        return
    for place, choice in enumerate(task.choices):
        if task.refusals[place] is None:
            dialog = task.dialogs[place // task.request.n]
            task.refusals[place] = await _refusal(service.check, dialog, choice.text)


async def _refusal(check: Check, dialog: Sequence[Message], answer: str | None) -> str | None:
    try:
        return await asyncio.to_thread(check, dialog, answer)
    except Exception:
        _log.exception("a safety check failed")
        raise ApiError(503, "the safety check failed", code="check_failed") from None


def _streamed(worker: Worker, task: _Task) -> ASGIApp:
    """A response that sends what is drawn as it comes."""

    async def respond(_: Scope, receive: Receive, send: Send) -> None:
        response = Response(headers=_STREAM_HEADERS)
        del response.headers["content-length"]
        start = {"type": "http.response.start", "status": 200, "headers": response.raw_headers}
        async with _watched(receive, worker, task.job):
            with contextlib.suppress(Disconnected):
                await send(start)
                async for body, has_more in _bodies(task):
                    await _write(send, body, has_more)

    return respond


async def _bodies(task: _Task) -> AsyncIterator[tuple[bytes, bool]]:
    """The parts of a stream, each with whether another follows."""
    job, choices = task.job, task.choices
    writer = EventWriter(task.sheet, len(choices))
    news = writer.start()
    while not job.is_done:
        if news:
            yield news, True
        await job.changed.wait()
        job.changed.clear()
        news = writer.news(choices)
    if job.failure is not None:
        yield news + failure_event(job.failure), False
        return
    _raise_for(job)
    yield news + writer.news(choices) + writer.close(choices), False


async def _write(send: Send, body: bytes, has_more: bool) -> None:
    try:
        async with asyncio.timeout(_SEND_SECONDS):
            await send({"type": "http.response.body", "body": body, "more_body": has_more})
    except TimeoutError:
        raise Disconnected from None


def _events(task: _Task) -> bytes:
    """A whole stream at once, for an answer that had to be checked first."""
    writer = EventWriter(task.sheet, len(task.choices))
    parts = [writer.start()]
    for index, refusal in enumerate(task.refusals):
        if refusal is not None:
            parts.append(writer.refusal(index, refusal))
    parts += [writer.news(task.choices), writer.close(task.choices)]
    return b"".join(parts)
