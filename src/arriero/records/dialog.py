"""A dialog: who said what, in turn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a dialog."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Dialog:
    """Messages in order: at most one system message, first; then user and assistant in turn.

    A dialog that ends with the assistant is a demonstration; one that ends with the user is a
    prompt that waits for an answer. `is_cut` says that the last answer was cut off: it is learned
    without an end. `last_answer_only` says that no other answer is learned, as Ghost Attention
    wants it (section 3.3).

    Raises:
        ValueError: the order of the roles is another one, or a user message is empty.
    """

    messages: tuple[Message, ...]
    source: str = ""
    is_cut: bool = False
    last_answer_only: bool = False

    def __post_init__(self) -> None:
        check_turns(self.messages)

    @property
    def is_answered(self) -> bool:
        """Whether the assistant has the last word."""
        return self.messages[-1].role == "assistant"

    @property
    def prompt(self) -> tuple[Message, ...]:
        """All messages before the last answer."""
        return self.messages[:-1] if self.is_answered else self.messages

    @property
    def answer(self) -> str:
        """The assistant's last message; empty if the dialog still waits for it."""
        return self.messages[-1].content if self.is_answered else ""

    @property
    def num_turns(self) -> int:
        """Number of user messages."""
        return sum(message.role == "user" for message in self.messages)

    def answered(self, answer: str, *, is_cut: bool = False) -> Dialog:
        """The same prompt with `answer` as the assistant's last message."""
        messages = (*self.prompt, Message("assistant", answer))
        return replace(self, messages=messages, is_cut=is_cut)


def folded(text: str) -> str:
    """Text by which two are the same that differ in case and spaces alone.

    >>> folded("Wo  ist die STRASSE?") == folded("wo ist die Straße? ")
    True
    """
    return " ".join(text.casefold().split())


def check_turns(messages: tuple[Message, ...]) -> None:
    """Raise ValueError with a reason unless the roles alternate as a dialog's must."""
    turns = messages[1:] if messages and messages[0].role == "system" else messages
    if not turns:
        raise ValueError("a dialog needs at least one user message")
    for position, message in enumerate(turns):
        expected = "user" if position % 2 == 0 else "assistant"
        if message.role != expected:
            raise ValueError(
                f"message {position + 1} should come from the {expected}, not the {message.role}"
            )
        if message.role == "user" and not message.content.strip():
            raise ValueError(f"user message {position + 1} is empty")
