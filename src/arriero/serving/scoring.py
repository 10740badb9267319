"""POST /v1/score: the raw scores and probabilities that a reward model gives answered dialogs.

The answer has the shape of vLLM's and SGLang's /score: a list of objects with `index` and `score`,
and `usage`. What is asked has the shape of a chat, since a reward model scores a whole dialog
through its chat layout: `messages` that end with the assistant's, or a list of such.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from arriero.equations.calibration import sigmoid
from arriero.records import Dialog, Message, UserError
from arriero.serving.answering import wrong_model
from arriero.serving.faults import ApiError, json_response
from arriero.serving.fields import parse_body, refuse_unknown, wrong_type
from arriero.serving.guards import Disconnected, read_body
from arriero.serving.metrics import Metrics
from arriero.serving.requests import HARMLESS, read_messages
from arriero.serving.score_worker import ScoreIds, ScoreWorker
from arriero.tokenizer.chat import encode_answer, encode_prompt
from arriero.tokenizer.tokenizer import Tokenizer

SCORE_PATH = "/v1/score"
SCORE_KEYS = frozenset({"model", "messages", *HARMLESS})


@dataclass(frozen=True, slots=True)
class RewardModel:
    """A reward model as the server sees it.

    Attributes:
        name: what clients call it.
        context: longest sequence in tokens.
        score: raw scores of sequences, whatever the batch.
    """

    name: str
    tokenizer: Tokenizer
    context: int
    score: ScoreIds


@dataclass(frozen=True, slots=True)
class Scoring:
    """What is needed to answer /v1/score."""

    reward: RewardModel
    worker: ScoreWorker
    metrics: Metrics
    max_body: int


async def answer_score(service: Scoring, http: HttpRequest) -> Response:
    """Answer one request.

    Raises:
        ApiError: of whatever is wrong with the request, or with this moment.
    """
    try:
        with service.worker.arriving():
            body = parse_body(await read_body(http, service.max_body))
            if body.get("model") not in (None, service.reward.name):
                wrong_model(body["model"], service.reward.name)
            refuse_unknown(body, SCORE_KEYS)
            dialogs = read_dialogs(body.get("messages"))
            sequences = await asyncio.to_thread(_encode, service.reward, dialogs)
        scores = await _unless_gone(http, service.worker.score(sequences))
    except Disconnected:
        return Response(status_code=499)
    num_tokens = sum(map(len, sequences))
    service.metrics.prompt_tokens += num_tokens
    return json_response(
        {
            "id": f"score-{secrets.token_hex(12)}",
            "object": "list",
            "created": int(time.time()),
            "model": service.reward.name,
            "data": [
                {"index": i, "object": "score", "score": score, "probability": sigmoid(score)}
                for i, score in enumerate(scores)
            ],
            "usage": {
                "prompt_tokens": num_tokens,
                "completion_tokens": 0,
                "total_tokens": num_tokens,
            },
        }
    )


def read_dialogs(value: Any) -> list[tuple[Message, ...]]:
    """The dialogs of a request: one, or a list of several.

    Raises:
        ApiError: 400, with the key that is at fault.
    """
    if not isinstance(value, list):
        wrong_type("messages", "a list of messages, or of such lists", value)
    rows = cast(list[Any], value)
    if not rows or not isinstance(rows[0], list):
        return [read_messages(rows)]
    return [read_messages(row, f"messages[{place}]") for place, row in enumerate(rows)]


def _encode(reward: RewardModel, dialogs: Sequence[tuple[Message, ...]]) -> list[list[int]]:
    """Ids of prompt and answer of each.

    Raises:
        ApiError: 400, the roles do not take turns, the answer is missing, or it is too long.
    """
    sequences: list[list[int]] = []
    for place, messages in enumerate(dialogs):
        where = "messages" if len(dialogs) == 1 else f"messages[{place}]"
        try:
            dialog = Dialog(messages)
            if not dialog.is_answered:
                raise ValueError("the last message should be the assistant's: it is what is scored")
            ids = encode_prompt(reward.tokenizer, dialog.prompt)
            ids = ids + encode_answer(reward.tokenizer, dialog.answer)
        except (ValueError, UserError) as error:
            raise ApiError(400, f"{where}: {error}", param="messages") from None
        if len(ids) > reward.context:
            raise ApiError(
                400,
                f"{where} has {len(ids)} tokens, this model's context is {reward.context}",
                param="messages",
                code="context_length_exceeded",
            )
        sequences.append(ids)
    return sequences


async def _unless_gone(http: HttpRequest, work: Any) -> list[float]:
    """What the work gives; a client that goes away ends it.

    Raises:
        Disconnected: it has gone.
    """

    async def leave() -> None:
        while (await http.receive())["type"] != "http.disconnect":
            pass

    scoring, leaving = asyncio.ensure_future(work), asyncio.create_task(leave())
    try:
        await asyncio.wait((scoring, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not scoring.done():
            raise Disconnected
        return scoring.result()
    finally:
        leaving.cancel()
        scoring.cancel()
