"""A test whether an instruction of the first message still holds many turns later."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConsistencyTest:
    """An instruction, ordinary turns after it, and a question that shows whether it still holds.

    Attributes:
        id: names the test in reports.
        instruction: stands before the first user message alone.
        turns: ordinary user messages; one fewer than the longest dialog has turns.
        question: asked as the last turn.
        expected: an answer holds each of these words or phrases; none asks for no word.
        sentences: how many sentences the answer has; 0 for any number.
        kind: what was set, such as `hobby`; free text for reports.
        value: the value that was set.
        is_trained: whether Ghost Attention was trained on this kind and value.

    Raises:
        ValueError: nothing is expected of the answer, or a text is empty.
    """

    id: str
    instruction: str
    turns: tuple[str, ...]
    question: str
    expected: tuple[str, ...] = ()
    sentences: int = 0
    kind: str = ""
    value: str = ""
    is_trained: bool = True

    def __post_init__(self) -> None:
        if not self.expected and not self.sentences:
            raise ValueError("a test names `expected` words or a number of `sentences`")
        if not all(text.strip() for text in (self.instruction, self.question, *self.turns)):
            raise ValueError("`instruction`, `question` and each of `turns` hold words")
