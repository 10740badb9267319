"""Breaking what a message may not contain: the literals of control tokens and of the layout's tags.

A sign, mostly a space, goes behind the first sign of every literal: `<|im_end|>` becomes
`< |im_end|>`. The sign is one that no literal holds, so that putting it in never makes a new one
(taking something out would, as in `<|im_<|im_end|>end|>`), and every place is looked at, so that
literals that overlap are all broken. Hence the result holds none, and breaking it again changes
nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import chain

# None of them is a letter, and all but the space are kept by templates that trim.
_SIGNS = (" ", "\u2060", "\u200b", "\u200c", "\u200d", *map(chr, range(0xE000, 0xF8FF)))
_LETTERS = (
    "x",
    "q",
    "z",
    "j",
    "y",
    *map(chr, range(ord("a"), ord("w"))),
    *map(chr, range(0x4E00, 0x9FA6)),
)
_TAG = re.compile(r"<{1,2}/?[^<>\s]{1,60}>{1,2}|\[/?[^\[\]\s]{1,60}\]")


class Breaker:
    """Breaks a set of literals.

    Attributes:
        literals: longest first.
        sign: what is put into them.
        letter: one that stands in none of them.
    """

    def __init__(self, literals: Iterable[str]) -> None:
        self.literals = tuple(
            sorted({each for each in literals if each}, key=lambda x: (-len(x), x))
        )
        held = frozenset(chain.from_iterable(self.literals))
        self.sign = next(sign for sign in _SIGNS if sign not in held)
        self.letter = next(x for x in _LETTERS if not held & {x, x.upper()})
        rests: dict[str, list[str]] = {}
        for literal in self.literals:
            rests.setdefault(literal[0], []).append(re.escape(literal[1:]))
        # Only the first sign is taken, so that a literal that begins inside another is seen too.
        places = [rf"{re.escape(first)}(?={'|'.join(rest)})" for first, rest in rests.items()]
        self._place = re.compile("|".join(places) or r"(?!)")

    def __call__(self, text: str) -> str:
        """`text` without any of the literals."""
        return self._place.sub(self._break, text)

    def _break(self, match: re.Match[str]) -> str:
        # A literal of one sign has no inside: the sign itself goes.
        return self.sign if match[0] in self.literals else match[0] + self.sign

    def shatter(self, text: str) -> str:
        """`text` with the sign behind every sign: no two stand together any more."""
        return "".join(each + self.sign for each in text)


def tags_in(text: str) -> set[str]:
    """What looks like a tag in a text of a template's own: `<|user|>`, `[INST]`, `<</SYS>>`."""
    return set(_TAG.findall(text))
