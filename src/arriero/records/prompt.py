"""A prompt with the tags that the recipe needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from arriero.records.dialog import Message, check_turns

Track = Literal["helpfulness", "safety"]


@dataclass(frozen=True, slots=True)
class Prompt:
    """Messages that end with the user's, and where they belong.

    `track` is the tag of section 3.2.3: on prompts tagged `safety` the composite reward always
    follows the safety model. `category` is free text for reports (a skill, a risk category, an
    attack). `id` is what an oracle finds the hidden truth by; it never reaches a model.
    """

    id: str
    messages: tuple[Message, ...]
    track: Track = "helpfulness"
    category: str = ""

    def __post_init__(self) -> None:
        check_turns(self.messages)
        if self.messages[-1].role != "user":
            raise ValueError("a prompt ends with a user message")
