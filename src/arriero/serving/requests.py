"""What a client asks for: OpenAI's request bodies as one checked record.

Whatever would change the answer and is not done here is refused by name; the keys in `HARMLESS`
change no answer and are left unread; any other key is a mistake. Departures from OpenAI's API:
`top_k` is taken too, and a `max_tokens` beyond the model's context means as much as there is room.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from arriero.records import Message
from arriero.serving.faults import ApiError
from arriero.serving.fields import (
    Body,
    flag,
    integer,
    kind,
    number,
    out_of_range,
    refuse_unknown,
    refuse_unsupported,
    wrong_type,
)

HARMLESS = frozenset(
    "user metadata store service_tier safety_identifier prompt_cache_key prompt_cache_retention "
    "parallel_tool_calls".split()
)
"""Keys that clients send and that no answer depends on."""

MOST_STOPS = 4
LONGEST_STOP = 1000
MOST_ALTERNATIVES = 20


@dataclass(frozen=True, slots=True)
class Request:
    """A request whose every value has been checked but for its length in tokens.

    Attributes:
        is_chat: a dialog to answer, or texts to continue.
        dialogs: what is asked, one for each prompt, as a safety check sees it.
        texts: what to continue: a text, or ids; empty for a chat.
        max_tokens: None for as many as the context holds.
        seed: None for another one each time.
        num_alternatives: None for no log-probs.
        with_usage: whether a stream ends with the counts of tokens.
    """

    is_chat: bool
    dialogs: tuple[tuple[Message, ...], ...]
    texts: tuple[str | tuple[int, ...], ...]
    n: int
    temperature: float
    top_p: float
    top_k: int
    max_tokens: int | None
    stop: tuple[str, ...]
    seed: int | None
    num_alternatives: int | None
    is_streamed: bool
    with_usage: bool


def _is_zero(value: Any) -> bool:
    return not isinstance(value, bool) and value == 0


def _is_one(value: Any) -> bool:
    return not isinstance(value, bool) and value == 1


def _is_empty(value: Any) -> bool:
    return value in ([], {}, "")


_NEITHER: Mapping[str, Callable[[Any], bool]] = {
    "frequency_penalty": _is_zero,
    "presence_penalty": _is_zero,
    "repetition_penalty": _is_one,
    "logit_bias": _is_empty,
    "min_p": _is_zero,
}
_NOT_IN_CHAT: Mapping[str, Callable[[Any], bool]] = {
    **_NEITHER,
    "tools": _is_empty,
    "tool_choice": lambda value: value in ("none", "auto"),
    "functions": _is_empty,
    "function_call": lambda value: value in ("none", "auto"),
    "response_format": lambda value: value == {"type": "text"},
    "modalities": lambda value: value == ["text"],
    "audio": _is_empty,
    "prediction": _is_empty,
    "reasoning_effort": lambda value: value == "none",
    "verbosity": lambda value: value == "medium",
    "web_search_options": lambda _: False,
}
_NOT_IN_COMPLETIONS: Mapping[str, Callable[[Any], bool]] = {
    **_NEITHER,
    "suffix": _is_empty,
    "echo": lambda value: value is False,
}
_SHARED = ("model", "n", "seed", "stop", "stream", "stream_options", "temperature", "top_p")
_CHAT_KEYS = (*_SHARED, "messages", "max_tokens", "max_completion_tokens", "top_k", "logprobs")
CHAT_KEYS = frozenset({*_CHAT_KEYS, "top_logprobs", *_NOT_IN_CHAT, *HARMLESS})
COMPLETION_KEYS = frozenset(
    {*_SHARED, "prompt", "max_tokens", "top_k", "logprobs", "best_of", *_NOT_IN_COMPLETIONS}
    | HARMLESS
)
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
# What a client sends back with an answer of ours, empty.
_EMPTY_IN_MESSAGES = ("refusal", "annotations", "audio", "function_call", "tool_calls")


def read_chat(body: Body, *, max_choices: int) -> Request:
    """The request of POST /v1/chat/completions.

    Raises:
        ApiError: 400, with the key that is at fault.
    """
    refuse_unknown(body, CHAT_KEYS)
    refuse_unsupported(body, _NOT_IN_CHAT)
    longest = body.get("max_completion_tokens")
    if longest is None:
        longest = body.get("max_tokens")
    elif body.get("max_tokens") not in (None, longest):
        raise ApiError(400, "max_tokens and max_completion_tokens differ", param="max_tokens")
    num_alternatives = integer(body, "top_logprobs", 0, 0, MOST_ALTERNATIVES)
    if not flag(body, "logprobs"):
        if num_alternatives:
            raise ApiError(400, "top_logprobs needs logprobs: true", param="top_logprobs")
        num_alternatives = None
    return Request(
        is_chat=True,
        dialogs=(read_messages(body.get("messages")),),
        texts=(),
        max_tokens=None if longest is None else _max_tokens(longest),
        num_alternatives=num_alternatives,
        **_shared(body, 1, max_choices),
    )


def read_completion(body: Body, *, max_choices: int, vocab_size: int) -> Request:
    """The request of POST /v1/completions; an id of a prompt lies under `vocab_size`.

    Raises:
        ApiError: 400, with the key that is at fault.
    """
    refuse_unknown(body, COMPLETION_KEYS)
    refuse_unsupported(body, _NOT_IN_COMPLETIONS)
    texts = _prompts(body.get("prompt"), vocab_size)
    shared = _shared(body, len(texts), max_choices)
    best_of = integer(body, "best_of", shared["n"], 1, max_choices)
    if best_of != shared["n"]:
        raise ApiError(
            400,
            f"best_of {best_of} is not supported here: leave it out",
            param="best_of",
            code="unsupported_parameter",
        )
    has_logprobs = body.get("logprobs") is not None
    return Request(
        is_chat=False,
        dialogs=(),
        texts=texts,
        max_tokens=_max_tokens(16 if body.get("max_tokens") is None else body["max_tokens"]),
        num_alternatives=integer(body, "logprobs", 0, 0, MOST_ALTERNATIVES)
        if has_logprobs
        else None,
        **shared,
    )


def _shared(body: Body, num_prompts: int, max_choices: int) -> dict[str, Any]:
    """What both kinds of request have."""
    is_streamed = flag(body, "stream")
    options: Any = body.get("stream_options")
    if options is not None:
        if not isinstance(options, dict):
            wrong_type("stream_options", "an object", options)
        options = cast(Body, options)
        refuse_unknown(options, ("include_usage", "include_obfuscation"), " in stream_options")
        if not is_streamed:
            raise ApiError(400, "stream_options needs stream: true", param="stream_options")
    n = integer(body, "n", 1, 1, max_choices)
    if n * num_prompts > max_choices:
        raise ApiError(
            400, f"{num_prompts} prompts, {n} times each: the most is {max_choices}", param="n"
        )
    top_p = number(body, "top_p", 1.0, 0.0, 1.0)
    has_seed = body.get("seed") is not None
    return {
        "n": n,
        "temperature": number(body, "temperature", 1.0, 0.0, 2.0),
        # A nucleus of nothing is its limit: the most probable token.
        "top_p": top_p or 1.0,
        "top_k": integer(body, "top_k", 0, 0, 2**31) if top_p else 1,
        "stop": _stop(body.get("stop")),
        "seed": integer(body, "seed", 0, -(2**63), 2**63 - 1) if has_seed else None,
        "is_streamed": is_streamed,
        "with_usage": flag(options or {}, "include_usage"),
    }


def _max_tokens(value: Any) -> int:
    return integer({"max_tokens": value}, "max_tokens", 1, 1, 2**31)


def _stop(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    strings = cast(list[Any], value) if isinstance(value, list) else [value]
    if len(strings) > MOST_STOPS:
        raise ApiError(
            400, f"stop has {len(strings)} strings, the most is {MOST_STOPS}", param="stop"
        )
    for string in strings:
        if not isinstance(string, str):
            wrong_type("stop", "a string or a list of strings", string)
        if not 0 < len(string) <= LONGEST_STOP:
            raise ApiError(
                400, f"a stop string has between 1 and {LONGEST_STOP} characters", param="stop"
            )
    return tuple(cast(list[str], strings))


def read_messages(value: Any, key: str = "messages") -> tuple[Message, ...]:
    """The messages of a dialog, under a key of the body.

    Raises:
        ApiError: 400, no list of messages with roles and texts.
    """
    if not isinstance(value, list):
        wrong_type(key, "a list", value)
    rows = cast(list[Any], value)
    if not rows:
        raise ApiError(400, f"{key} is empty: it needs at least one user message", param=key)
    return tuple(_message(row, f"{key}[{place}]") for place, row in enumerate(rows))


def _message(row: Any, where: str) -> Message:
    if not isinstance(row, dict):
        wrong_type(where, "an object", row)
    row = cast(Body, row)
    refuse_unknown(row, ("role", "content", "name", *_EMPTY_IN_MESSAGES), f" in {where}")
    for key in _EMPTY_IN_MESSAGES:
        if row.get(key):
            raise ApiError(400, f"{where}.{key} is not supported here", param=where)
    role: Any = row.get("role")
    if not isinstance(role, str):
        wrong_type(f"{where}.role", f"one of {', '.join(_ROLES)}", role)
    if role not in _ROLES:
        raise ApiError(
            400, f"{where}.role should be one of {', '.join(_ROLES)}, not {kind(role)}", param=where
        )
    return Message(cast(Any, _ROLES[role]), _content(row.get("content"), where))


def _content(value: Any, where: str) -> str:
    """A string, or the texts of a list of parts."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        wrong_type(f"{where}.content", "a string or a list of parts", value)
    texts: list[str] = []
    for part in cast(list[Any], value):
        match part:
            case {"type": "text", "text": str(text)}:
                texts.append(text)
            case _:
                raise ApiError(
                    400, f"{where}.content: only parts of type text are supported", param=where
                )
    return "\n".join(texts)


def _prompts(value: Any, vocab_size: int) -> tuple[str | tuple[int, ...], ...]:
    """A string, several, ids, or several lists of ids."""
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list):
        wrong_type("prompt", "a string, a list of strings, or token ids", value)
    parts = cast(list[Any], value)
    if not parts:
        raise ApiError(400, "prompt is empty", param="prompt")
    if isinstance(parts[0], int):
        return (_ids(parts, vocab_size),)
    prompts: list[str | tuple[int, ...]] = []
    for part in parts:
        if isinstance(part, str):
            prompts.append(part)
        elif isinstance(part, list):
            prompts.append(_ids(cast(list[Any], part), vocab_size))
        else:
            wrong_type("prompt", "a string, a list of strings, or token ids", part)
    return tuple(prompts)


def _ids(values: list[Any], vocab_size: int) -> tuple[int, ...]:
    if not values:
        raise ApiError(400, "prompt: a list of token ids is empty", param="prompt")
    for value in values:
        if not isinstance(value, int) or isinstance(value, bool):
            wrong_type("prompt", "token ids throughout", value)
        if not 0 <= value < vocab_size:
            out_of_range("prompt: a token id", value, 0, vocab_size - 1)
    return tuple(values)
