"""A comparison of two answers to one prompt, as section 3.2.1 collects it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from arriero.records.dialog import Message
from arriero.records.prompt import Track


class Rating(StrEnum):
    """How much better the chosen answer is (section 3.2.1), from the most to the least."""

    SIGNIFICANTLY_BETTER = "significantly_better"
    BETTER = "better"
    SLIGHTLY_BETTER = "slightly_better"
    NEGLIGIBLY_BETTER = "negligibly_better"


@dataclass(frozen=True, slots=True)
class Preference:
    """One row of preference data.

    `rating` and the two safety labels are None where a data set does not carry them: then the
    margin is 0 and the safety loss of the row is 0. `batch` names the batch in time (a week's, in
    the paper) that the row was collected in.
    """

    prompt: tuple[Message, ...]
    chosen: str
    rejected: str
    rating: Rating | None = None
    chosen_is_safe: bool | None = None
    rejected_is_safe: bool | None = None
    track: Track = "helpfulness"
    source: str = ""
    prompt_id: str = ""
    annotator: str = ""
    batch: str = ""
