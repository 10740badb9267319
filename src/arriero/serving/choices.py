"""One choice of an answer as it grows: its text, its end, the log-probs of its tokens."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Literal

from arriero.inference.request import Drawn
from arriero.inference.text import TextStream
from arriero.tokenizer.tokenizer import Tokenizer

Finish = Literal["stop", "length", "content_filter"]

# What stands for the logarithm of 0, which JSON has not.
_LEAST = -9999.0


class Choice:
    """Takes the tokens of one sequence.

    Attributes:
        num_tokens: all that were drawn, the one that ended the answer included.
        finish: why it ended, once it has.
        text: what was said so far and is not taken back, all of it.
    """

    def __init__(self, stream: TextStream) -> None:
        self._stream = stream
        self._waiting: deque[tuple[int, Drawn]] = deque()
        self._parts: list[str] = []
        self._num_given = 0
        self._num_sent = 0
        self.num_tokens = 0
        self.finish: Finish | None = None

    @property
    def is_done(self) -> bool:
        return self.finish is not None

    @property
    def text(self) -> str:
        return "".join(self._parts)

    def take(self, drawn: Drawn) -> None:
        """One more token."""
        self.num_tokens += 1
        if drawn.finish != "stop":
            if drawn.alternatives is not None:
                self._waiting.append((self._stream.length, drawn))
            self._say(self._stream.feed(drawn.token))
        if drawn.finish is not None:
            self._say(self._stream.finish())
        if self._stream.is_stopped:
            self.finish = "stop"
        else:
            self.finish = drawn.finish

    def _say(self, piece: str) -> None:
        if piece:
            self._parts.append(piece)
            self._num_given += len(piece)

    def new_text(self) -> str:
        """What was said since the last call."""
        new = "".join(self._parts[self._num_sent :])
        self._num_sent = len(self._parts)
        return new

    def new_tokens(self) -> list[tuple[int, Drawn]]:
        """Tokens whose text has begun to be said, each with its place in the text.

        Those of a stop string never come; those of spaces left out at the end come last.
        """
        ready: list[tuple[int, Drawn]] = []
        is_whole = self.is_done and not self._stream.is_stopped
        while self._waiting and (is_whole or self._waiting[0][0] < self._num_given):
            ready.append(self._waiting.popleft())
        return ready


class TokenTexts:
    """The text of single tokens, as they stand within a text."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        # At the start of a text a space is dropped: hence each token is read behind another one.
        self._before = tokenizer.encode("a")[-1:]
        self._offset = len(tokenizer.decode(self._before))
        self._texts: dict[int, str] = {}

    def __call__(self, token: int) -> str:
        """The token's text; `�` for a part of a character."""
        text = self._texts.get(token)
        if text is None:
            text = self._tokenizer.decode([*self._before, token])[self._offset :]
            self._texts[token] = text
        return text


def chat_logprobs(texts: TokenTexts, tokens: Sequence[tuple[int, Drawn]]) -> dict[str, Any]:
    """The `logprobs` of a chat's choice."""
    content: list[dict[str, Any]] = []
    for _, drawn in tokens:
        told = drawn.alternatives
        assert told is not None, "asked for with the request"
        top = [_entry(texts, token, logprob) for token, logprob in told.top]
        content.append({**_entry(texts, drawn.token, told.chosen), "top_logprobs": top})
    return {"content": content, "refusal": None}


def completion_logprobs(texts: TokenTexts, tokens: Sequence[tuple[int, Drawn]]) -> dict[str, Any]:
    """The `logprobs` of a completion's choice; two tokens of one text share a row of the top."""
    told = [drawn.alternatives for _, drawn in tokens if drawn.alternatives is not None]
    return {
        "tokens": [texts(drawn.token) for _, drawn in tokens],
        "token_logprobs": [max(one.chosen, _LEAST) for one in told],
        "top_logprobs": [
            {texts(token): max(logprob, _LEAST) for token, logprob in reversed(one.top)}
            for one in told
        ],
        "text_offset": [offset for offset, _ in tokens],
    }


def _entry(texts: TokenTexts, token: int, logprob: float) -> dict[str, Any]:
    text = texts(token)
    is_text = "\N{REPLACEMENT CHARACTER}" not in text
    return {
        "token": text,
        "logprob": max(logprob, _LEAST),
        "bytes": list(text.encode()) if is_text else None,
    }
