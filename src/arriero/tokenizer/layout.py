"""What a chat layout does: it turns dialogs into stretches of ids, answers apart from the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from arriero.records import Dialog


class Stretch(NamedTuple):
    """Ids that stand together. An answer's hold the id that ends it, unless it was cut off."""

    ids: list[int]
    is_answer: bool


class Layout(Protocol):
    """A chat layout, bound to the tokenizer that it writes for."""

    def stretches(self, dialogs: Sequence[Dialog]) -> list[list[Stretch]]:
        """Each dialog in stretches; a dialog that waits for its answer ends where that begins.

        Raises:
            UserError: the layout has no place for such a dialog.
        """
        ...

    def answer(self, text: str) -> list[int]:
        """An answer and the id that ends it, as they follow the prompt."""
        ...
