"""From a checked request to ids, and to orders for the engine."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence

from arriero.inference.request import Sampling
from arriero.inference.text import TextStream
from arriero.records import Message, UserError
from arriero.serving.faults import ApiError
from arriero.serving.requests import Request
from arriero.serving.worker import Order
from arriero.tokenizer.chat import encode_prompt
from arriero.tokenizer.tokenizer import Tokenizer, mend_surrogates

# The end of a prompt that says whether its continuation begins with a space.
_NUM_BEFORE = 4


async def encode(tokenizer: Tokenizer, request: Request, context: int) -> list[list[int]]:
    """Ids of every prompt, each with room for an answer.

    Raises:
        ApiError: 400, the roles do not take turns, or a prompt is empty or too long.
    """
    where = "messages" if request.is_chat else "prompt"
    try:
        # A long text takes a second, and so may a folder's own chat template.
        prompts = await asyncio.to_thread(prompt_ids, tokenizer, request)
    except (ValueError, UserError) as error:
        raise ApiError(400, str(error), param=where) from None
    for prompt in prompts:
        if len(prompt) >= context:
            raise ApiError(
                400,
                f"the prompt has {len(prompt)} tokens, this model's context is {context}: "
                "no room for an answer",
                param=where,
                code="context_length_exceeded",
            )
    return prompts


def prompt_ids(tokenizer: Tokenizer, request: Request) -> list[list[int]]:
    """Ids of a request's prompts; no text in it becomes a control id.

    Raises:
        ValueError, UserError: the roles do not take turns, or a prompt is empty.
    """
    if request.is_chat:
        return [encode_prompt(tokenizer, dialog) for dialog in request.dialogs]
    begin = [] if tokenizer.special.bos is None else [tokenizer.special.bos]
    prompts = [
        [*begin, *tokenizer.encode(mend_surrogates(text))] if isinstance(text, str) else list(text)
        for text in request.texts
    ]
    if not all(prompts):
        raise ValueError("the prompt is empty")
    return prompts


def as_dialogs(tokenizer: Tokenizer, request: Request) -> Sequence[tuple[Message, ...]]:
    """What is asked, as a safety check sees it: a text to continue is a user's message."""
    if request.is_chat:
        return request.dialogs
    return [
        (Message("user", text if isinstance(text, str) else tokenizer.decode(text)),)
        for text in request.texts
    ]


def orders(request: Request, prompts: Sequence[list[int]], context: int) -> list[Order]:
    """One order a choice: those of the first prompt, those of the second, ..."""
    seed = secrets.randbits(62) if request.seed is None else request.seed % 2**63
    found: list[Order] = []
    for key, prompt in enumerate(prompts):
        room = context - len(prompt)
        sampling = Sampling(
            temperature=request.temperature,
            top_p=request.top_p,
            top_k=request.top_k,
            max_new_tokens=room if request.max_tokens is None else min(room, request.max_tokens),
        )
        found += [
            Order(prompt, sampling, seed, key, sample, request.num_alternatives)
            for sample in range(request.n)
        ]
    return found


def text_stream(tokenizer: Tokenizer, request: Request, prompt: Sequence[int]) -> TextStream:
    """The text of a choice: an answer of its own, or what goes on after the prompt."""
    after = None if request.is_chat else prompt[-_NUM_BEFORE:]
    return TextStream(tokenizer, request.stop, after=after)
