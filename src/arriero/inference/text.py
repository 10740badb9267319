"""From ids to text as they are drawn: what is certain, as soon as it is.

A character can take several tokens, and a stop string can begin in one token and end in another:
both are held back until it is clear what they are. Each token is decoded together with the few
before it alone, so a long answer costs as much a token as a short one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

# What decoding gives for bytes that are no character, or none yet.
_BROKEN = "\N{REPLACEMENT CHARACTER}"
# A character of UTF-8 has four bytes at most, so three at the end can still become one.
_MOST_UNFINISHED = 3
# Broken bytes can go on for ever: of more of them only the last are kept.
_MOST_PENDING = 24
_KEPT_PENDING = 8


class Decoder(Protocol):
    """What is needed of a tokenizer; ids in `control` and past the vocabulary have no text."""

    @property
    def vocab_size(self) -> int: ...

    @property
    def control(self) -> Collection[int]: ...

    def decode(self, ids: Sequence[int]) -> str: ...


class TextStream:
    """The text of one answer, token by token.

    All that `feed` gives, and at last `finish`, is the answer as decoding it at once gives it, cut
    before the first stop string. One decoder differs where bytes are no text: Hugging Face's
    `ByteFallback` takes back whole characters when a broken byte follows them; here they stay.

    Attributes:
        is_stopped: whether a stop string was met; from then on there is no more text.
        length: characters known so far, those included that are held back.
    """

    def __init__(
        self, tokenizer: Decoder, stop: Sequence[str] = (), *, after: Sequence[int] | None = None
    ) -> None:
        """
        Args:
            stop: strings, none empty, before which the text ends. Where several end in the text,
                the one that ends first counts.
            after: the last ids of the text that is continued (some four are enough): then every
                space counts. None for an answer of its own: white space before it, and spaces
                after it, belong to the layout and are left out.
        """
        self._decode = tokenizer.decode
        self._mute, self._vocab_size = tokenizer.control, tokenizer.vocab_size
        self._stop = tuple(stop)
        self._is_answer = after is None
        # What is decoded: tokens that end with a whole character, for what follows may depend on
        # them (a space at a text's start is dropped), and those since, whose text is not all said.
        self._settled = list(after or ())
        self._settled_text = _certain(self._decode(self._settled))
        self._pending: list[int] = []
        self._num_said = 0
        self._held = ""
        self.is_stopped = False
        self.length = 0

    def feed(self, token: int) -> str:
        """The text that this token makes certain; often empty."""
        if self.is_stopped or token in self._mute or token >= self._vocab_size:
            return ""
        self._pending.append(token)
        text = self._decode_pending()
        certain = _certain(text)
        new = certain[self._num_said :]
        if new and len(certain) == len(text):
            self._settled, self._pending = self._pending, []
            self._settled_text = self._decode(self._settled)
            self._num_said = 0
        else:
            self._num_said += len(new)
            if len(self._pending) > _MOST_PENDING:
                self._shorten(len(text) - len(certain))
        return self._pass_on(new, is_last=False)

    def finish(self) -> str:
        """The rest: what was held back, now that nothing follows."""
        if self.is_stopped:
            return ""
        new = self._decode_pending()[self._num_said :]
        self._num_said += len(new)
        return self._pass_on(new, is_last=True)

    def _shorten(self, num_uncertain: int) -> None:
        """Forget the front of the pending tokens, whose text is said."""
        before = self._pending
        self._pending = before[-_KEPT_PENDING:]
        self._num_said = len(self._decode_pending()) - num_uncertain
        if self._num_said < 0:  # they have hardly any text: no broken bytes, an odd vocabulary
            self._pending = before
            self._num_said = len(self._decode_pending()) - num_uncertain

    def _decode_pending(self) -> str:
        """The text since the settled tokens, which are decoded too."""
        text = self._decode([*self._settled, *self._pending])
        if text.startswith(self._settled_text):
            return text[len(self._settled_text) :]
        # Among bytes, `ByteFallback` makes nothing of whole characters before an unfinished one.
        return self._decode(self._pending)

    def _pass_on(self, new: str, *, is_last: bool) -> str:
        """Join `new` to what is held back and give what can't be part of a stop string."""
        if self._is_answer and not self.length:
            new = new.lstrip()
        self.length += len(new)
        text = self._held + new
        free = len(text)
        if self._stop:
            ends = [(at + len(stop), at) for stop in self._stop if (at := text.find(stop)) >= 0]
            if ends:
                self.is_stopped = is_last = True
                free = min(ends)[1]
                self.length -= len(text) - free
            elif not is_last:
                free -= self._num_possible(text)
        given = text[:free]
        if self._is_answer:
            given = given.rstrip(" ")
        self._held = "" if is_last else text[len(given) :]
        return given

    def _num_possible(self, text: str) -> int:
        """Characters at the end of `text` with which a stop string may begin."""
        longest = max(len(stop) for stop in self._stop)
        for count in range(min(len(text), longest - 1), 0, -1):
            end = text[-count:]
            if any(stop.startswith(end) for stop in self._stop):
                return count
        return 0


def _certain(text: str) -> str:
    """`text` without what further bytes could still make a character of."""
    if not text.endswith(_BROKEN):
        return text
    end = len(text)
    while end and len(text) - end < _MOST_UNFINISHED and text[end - 1] == _BROKEN:
        end -= 1
    return text[:end]
