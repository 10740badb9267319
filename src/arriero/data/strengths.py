"""Strengths of hh-rlhf's pairs: how sure an ensemble of reward models is of the human choice.

A published set gives the two dialogs as lists of turns, history and answer, and beside them
`mean preference difference`: the mean of the score of the chosen answer less that of the rejected
one. That is the scale of the large margin (Table 27: 3, 2, 1, 0), so a difference from 3 is
significantly better, from 2 better, from 1 slightly better, and anything below negligibly better.
Below 0 the models would have chosen the other answer: the human choice stays, as an unsure one.
"""

from __future__ import annotations

import math
from typing import Any

from arriero.data.tags import RATING_BY_STRENGTH
from arriero.data.transcripts import is_transcript, split_turns
from arriero.records import Message, Rating

STRENGTH_KEY = "mean preference difference"


def is_list_of_turns(side: Any) -> bool:
    """Whether a side is a dialog as a list of strings."""
    return isinstance(side, list) and len(side) > 1 and all(isinstance(turn, str) for turn in side)


def listed_turns(side: list[str]) -> list[Message]:
    """The messages of a list of turns, the last of which is the assistant's.

    Turns that open with `Human:` and `Assistant:` say themselves whose they are.
    """
    text = "\n\n".join(turn.strip() for turn in side)
    if is_transcript(text):
        return split_turns(text)
    return [
        Message("user" if (len(side) - number) % 2 == 0 else "assistant", turn.strip())
        for number, turn in enumerate(side)
    ]


def rating_of_strength(difference: Any) -> Rating | None:
    """The rating of a mean difference of scores; None where a row has none.

    >>> rating_of_strength(2.7)
    <Rating.BETTER: 'better'>

    Raises:
        ValueError: it is no finite number.
    """
    if difference is None:
        return None
    is_number = isinstance(difference, (int, float)) and not isinstance(difference, bool)
    if not is_number or not abs(difference) < math.inf:
        raise ValueError(f"{STRENGTH_KEY!r} should be a number, not {difference!r}; mend the row")
    return RATING_BY_STRENGTH[min(max(math.floor(difference), 0), max(RATING_BY_STRENGTH))]
