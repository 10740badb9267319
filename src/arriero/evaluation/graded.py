"""An answer with everything that was said of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from arriero.records import Grade, Prompt


@dataclass(frozen=True, slots=True)
class GradedAnswer:
    """One version's answer to one prompt.

    The three scores are the reward models' raw ones and their composite; `grade` is the oracle's,
    where there is one. `ended` says whether the model ended it, `repetition` what share of its
    trigrams of tokens stood in it before.
    """

    prompt: Prompt
    text: str
    num_tokens: int
    helpfulness_score: float
    safety_score: float
    composite_score: float
    grade: Grade | None
    ended: bool = True
    repetition: float = 0.0

    @property
    def quality(self) -> float | None:
        """The oracle's one number, if it graded."""
        return None if self.grade is None else self.grade.quality(self.prompt.track)

    def as_row(self) -> dict[str, Any]:
        """For a file of answers."""
        return {
            "prompt_id": self.prompt.id,
            "category": self.prompt.category,
            "prompt": self.prompt.messages[-1].content,
            "answer": self.text,
            "helpfulness_score": self.helpfulness_score,
            "safety_score": self.safety_score,
            "composite_score": self.composite_score,
            "label": self.grade.label if self.grade else None,
            "quality": self.quality,
        }

    def as_shown(self) -> dict[str, Any]:
        """For the report."""
        if self.grade is None:
            # Without an oracle the reward models' probabilities stand in.
            scores = (self.helpfulness_score, self.safety_score)
            helpfulness, safety = (1 / (1 + math.exp(-score)) for score in scores)
            return {"text": self.text, "helpfulness": helpfulness, "safety": safety}
        return {
            "text": self.text,
            "label": self.grade.label,
            "helpfulness": self.grade.helpfulness,
            "safety": self.grade.safety,
        }
