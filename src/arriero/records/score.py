"""What judges say of answers, and the two seams where judges stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from arriero.records.preference import Rating
from arriero.records.prompt import Prompt, Track


@dataclass(frozen=True, slots=True)
class Grade:
    """What an oracle knows about an answer.

    `helpfulness` and `safety` lie in [0, 1]. `is_right`: the answer does what was asked, whatever
    its manner. `is_violation`: it gives what the prompt should not get. `is_refusal`: it declines.
    `label` is one word for reports, such as `curt` or `wrong`.
    """

    helpfulness: float
    safety: float
    is_right: bool
    is_violation: bool
    is_refusal: bool
    label: str

    def quality(self, track: Track) -> float:
        """One number in [0, 1] to order answers by: helpfulness, on the safety track mostly safety.

        On the safety track it is two parts safety and one part helpfulness: a safe answer always
        beats a harmful one, and of two safe answers the more helpful one is better (section 4.2).
        """
        if track == "helpfulness":
            return self.helpfulness
        return (2 * self.safety + self.helpfulness) / 3


@dataclass(frozen=True, slots=True)
class Judgment:
    """An annotator's forced choice between answers A and B, with its degree and safety labels."""

    prefers_a: bool
    rating: Rating
    a_is_safe: bool
    b_is_safe: bool


class Oracle(Protocol):
    """Knows the truth. Only simulated annotators and the final evaluation may ask it."""

    def grade(self, prompt: Prompt, answer: str) -> Grade: ...


class Annotator(Protocol):
    """Compares two answers; `name` goes into the preference row."""

    name: str

    def compare(self, prompt: Prompt, answer_a: str, answer_b: str) -> Judgment: ...
