"""OpenAI's answer objects: whole ones, and the events of a stream.

What is the same in every event of a choice is written once; a token then costs the JSON of its own
text alone.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from arriero.serving.choices import (
    Choice,
    Finish,
    TokenTexts,
    chat_logprobs,
    completion_logprobs,
)
from arriero.serving.faults import ApiError, json_bytes

DONE = b"data: [DONE]\n\n"

_quoted = json.encoder.encode_basestring


@dataclass(frozen=True, slots=True)
class Sheet:
    """What all parts of one answer share.

    Attributes:
        texts: for log-probs; None where none are asked for.
    """

    is_chat: bool
    id: str
    created: int
    model: str
    num_prompt_tokens: int
    texts: TokenTexts | None
    with_usage: bool = False

    @classmethod
    def new(cls, *, is_chat: bool, **shared: Any) -> Sheet:
        """A sheet with an id of its own."""
        prefix = "chatcmpl" if is_chat else "cmpl"
        return cls(is_chat=is_chat, id=f"{prefix}-{secrets.token_hex(12)}", **shared)

    def logprobs(self, choice: Choice) -> dict[str, Any] | None:
        """Log-probs of the choice's new tokens."""
        if self.texts is None:
            return None
        write = chat_logprobs if self.is_chat else completion_logprobs
        return write(self.texts, choice.new_tokens())

    def usage(self, choices: Sequence[Choice]) -> dict[str, int]:
        """Counts of tokens; a prompt counts once, however many choices it has."""
        drawn = sum(choice.num_tokens for choice in choices)
        return {
            "prompt_tokens": self.num_prompt_tokens,
            "completion_tokens": drawn,
            "total_tokens": self.num_prompt_tokens + drawn,
        }


def whole_answer(sheet: Sheet, choices: Sequence[Choice], refusals: Sequence[str | None]) -> bytes:
    """The body of an answer that is not streamed; a refusal takes the place of its choice."""
    rows: list[dict[str, Any]] = []
    for index, (choice, refusal) in enumerate(zip(choices, refusals, strict=True)):
        text = choice.text if refusal is None else refusal
        said: dict[str, Any] = (
            {"message": {"role": "assistant", "content": text, "refusal": None}}
            if sheet.is_chat
            else {"text": text}
        )
        rows.append(
            {
                "index": index,
                **said,
                "logprobs": sheet.logprobs(choice) if refusal is None else None,
                "finish_reason": choice.finish if refusal is None else "content_filter",
            }
        )
    return json_bytes(
        {
            "id": sheet.id,
            "object": "chat.completion" if sheet.is_chat else "text_completion",
            "created": sheet.created,
            "model": sheet.model,
            "choices": rows,
            "usage": sheet.usage(choices),
        }
    )


class EventWriter:
    """Writes the events of one stream."""

    def __init__(self, sheet: Sheet, num_choices: int) -> None:
        self._sheet, self._num_choices = sheet, num_choices
        self._ended: set[int] = set()
        kind = "chat.completion.chunk" if sheet.is_chat else "text_completion"
        self._head = (
            f'data: {{"id":"{sheet.id}","object":"{kind}","created":{sheet.created},'
            f'"model":{_quoted(sheet.model)},"choices":['
        )
        self._tail = '],"usage":null}\n\n' if sheet.with_usage else "]}\n\n"
        self._before, self._after = (
            ('"delta":{"content":', "}") if sheet.is_chat else ('"text":', "")
        )

    def start(self) -> bytes:
        """The first events: who speaks. A completion has none."""
        if not self._sheet.is_chat:
            return b""
        said = '"delta":{"role":"assistant","content":""}'
        return "".join(
            self._event(index, said, "null", "null") for index in range(self._num_choices)
        ).encode()

    def news(self, choices: Sequence[Choice]) -> bytes:
        """What the choices have said since the last call, and the ends of those that ended."""
        events: list[str] = []
        for index, choice in enumerate(choices):
            if index in self._ended:
                continue
            text = choice.new_text()
            logprobs = self._sheet.logprobs(choice)
            has_tokens = logprobs is not None and any(logprobs.values())
            if text or has_tokens:
                events.append(
                    self._say(index, text, json.dumps(logprobs) if has_tokens else "null")
                )
            if choice.finish is not None:
                self._ended.add(index)
                events.append(self._end(index, choice.finish))
        return "".join(events).encode()

    def refusal(self, index: int, text: str) -> bytes:
        """A choice that a check has replaced."""
        self._ended.add(index)
        said = self._say(index, text, "null") + self._end(index, "content_filter")
        return said.encode("utf-8", "replace")

    def close(self, choices: Sequence[Choice]) -> bytes:
        """The end of the stream, with the counts where they are asked for."""
        if not self._sheet.with_usage:
            return DONE
        usage = json.dumps(self._sheet.usage(choices))
        return f'{self._head}],"usage":{usage}}}\n\n'.encode() + DONE

    def _end(self, index: int, finish: Finish) -> str:
        said = '"delta":{}' if self._sheet.is_chat else '"text":""'
        return self._event(index, said, "null", f'"{finish}"')

    def _say(self, index: int, text: str, logprobs: str) -> str:
        said = f"{self._before}{_quoted(text)}{self._after}"
        return self._event(index, said, logprobs, "null")

    def _event(self, index: int, said: str, logprobs: str, finish: str) -> str:
        return (
            f'{self._head}{{"index":{index},{said},"logprobs":{logprobs},'
            f'"finish_reason":{finish}}}{self._tail}'
        )


def failure_event(error: ApiError) -> bytes:
    """An error in a stream that has begun."""
    return b"data: " + json_bytes(error.body) + b"\n\n"
