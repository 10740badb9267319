"""Rows of PKU-SafeRLHF: two responses, which one is better, which one is safer, and their labels.

The track says which choice is taken: helpfulness goes by `better_response_id`, safety by
`safer_response_id`. The labels are kept on both tracks. The set grades no choice: its pairs have no
rating.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from arriero.data.dialogs import clean_answer, to_prompt
from arriero.data.tags import to_label
from arriero.records import Preference
from arriero.records.prompt import Track

CHOICES: dict[Track, str] = {
    "helpfulness": "better_response_id",
    "safety": "safer_response_id",
}

NO_TRACK = (
    "this set has a choice for each track; name one before the file, as safety:FILE (the safer "
    "answer) or helpfulness:FILE (the better one)"
)
"""What to tell a user who asks for the comparisons of a row without saying which."""


def saferlhf_preferences(value: dict[str, Any], track: Track) -> Iterator[Preference]:
    """Yield the preference of one row by the choice of `track`, without its source.

    Raises:
        ValueError: the choice is not there or neither 0 nor 1, or a label is no truth value.
    """
    key = CHOICES[track]
    if key not in value:
        raise ValueError(f"there is no {key!r}, which {track} comparisons go by; add it")
    chosen = value[key]
    if isinstance(chosen, bool) or chosen not in (0, 1):
        raise ValueError(f"{key!r} should be 0 or 1, not {chosen!r}; mend or remove the row")
    prompt = value["prompt"]
    if not isinstance(prompt, str):
        raise ValueError("'prompt' should be a string; mend or remove the row")
    rejected = 1 - chosen
    answers = [clean_answer(value[f"response_{side}"], f"response_{side}") for side in (0, 1)]
    labels = [to_label(value.get(name), name) for name in map(_label_key, (0, 1))]
    yield Preference(
        prompt=tuple(to_prompt(prompt)),
        chosen=answers[chosen],
        rejected=answers[rejected],
        chosen_is_safe=labels[chosen],
        rejected_is_safe=labels[rejected],
        track=track,
    )


def _label_key(side: int) -> str:
    return f"is_response_{side}_safe"
