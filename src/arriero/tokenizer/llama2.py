"""The Llama 2 layout by ids: per exchange BOS, encode("[INST] USER [/INST] ANSWER "), EOS.

Prompts are built as ids: nothing that stands in a message can become BOS or EOS, and `template`
says what happens to the tags.

Prompt and answer are encoded apart. That gives the same ids as the whole string at once, since no
piece of the vocabulary reaches over the end of a word: a space stands only at a piece's start.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from arriero.records import LLAMA2_IDS, Dialog
from arriero.tokenizer.layout import Stretch
from arriero.tokenizer.template import render_answer, render_turns

Encode = Callable[[Sequence[str]], list[list[int]]]
"""Ids of many texts, each with the space before it that SentencePiece puts there."""

BOS, EOS = 1, LLAMA2_IDS.ends[0]


class Llama2Layout:
    """The layout of the released chat models, for a SentencePiece model with their special ids."""

    def __init__(self, encode: Encode) -> None:
        self._encode = encode

    def stretches(self, dialogs: Sequence[Dialog]) -> list[list[Stretch]]:
        """A user's turn with its BOS, an answer with its EOS, and so on; all encoded at once."""
        turns = [render_turns(dialog.messages) for dialog in dialogs]
        for dialog, texts in zip(dialogs, turns, strict=True):
            if dialog.is_cut and dialog.is_answered:
                texts[-1] = texts[-1].rstrip(" ")  # the layout's space before EOS
        encoded = iter(self._encode([text for texts in turns for text in texts]))
        return [
            [
                _stretch(next(encoded), position, dialog.is_cut and position == len(texts) - 1)
                for position in range(len(texts))
            ]
            for dialog, texts in zip(dialogs, turns, strict=True)
        ]

    def answer(self, text: str) -> list[int]:
        """Ids of an answer with its EOS."""
        return [*self._encode([render_answer(text)])[0], EOS]


def _stretch(ids: list[int], position: int, is_cut: bool) -> Stretch:
    """Users speak at even positions, answers stand at odd ones."""
    if position % 2 == 0:
        return Stretch([BOS, *ids], False)
    return Stretch(ids if is_cut else [*ids, EOS], True)
