"""The tags that rows may carry: track, rating, safety labels, batch, and ids for prompts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, TypeVar, get_args

from arriero.records import Message, Rating, folded
from arriero.records.prompt import Track

_Default = TypeVar("_Default", bound=Track | None)

# Degrees as numbers, as data sets with a preference strength from 0 to 3 write them.
RATING_BY_STRENGTH = {
    3: Rating.SIGNIFICANTLY_BETTER,
    2: Rating.BETTER,
    1: Rating.SLIGHTLY_BETTER,
    0: Rating.NEGLIGIBLY_BETTER,
}

_KNOWN = f"{', '.join(Rating)}, or 3, 2, 1, 0"


def prompt_id(messages: Sequence[Message]) -> str:
    """An id that follows from the words of a prompt: the same prompt has it in every file."""
    turns = [[message.role, message.content.strip()] for message in messages]
    text = json.dumps(turns, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def prompt_key(messages: Sequence[Message]) -> str:
    """A key that prompts share whose words differ in case and spaces alone, as leaks often do.

    >>> prompt_key([Message("user", "Who  walks?")]) == prompt_key([Message("user", "who walks? ")])
    True
    """
    turns = [folded(message.content) for message in messages]
    return hashlib.sha256(json.dumps(turns).encode()).hexdigest()


def to_rating(value: Any) -> Rating | None:
    """A rating from our name for it, in any case and with spaces, or from a strength 0 to 3.

    >>> to_rating("Slightly better") is to_rating(1) is Rating.SLIGHTLY_BETTER
    True

    Raises:
        ValueError: another value.
    """
    if value is None:
        return None
    if isinstance(value, str):
        name = "_".join(value.lower().split())
        name = name if name.endswith("better") else f"{name}_better"
        if name in set(Rating):
            return Rating(name)
    elif type(value) in (int, float) and value in RATING_BY_STRENGTH:
        return RATING_BY_STRENGTH[int(value)]
    elif type(value) in (int, float) and value < 0:
        raise ValueError(
            f"the rating {value!r} is negative, as of swapped sides; known are {_KNOWN}"
        )
    raise ValueError(f"the rating {value!r} is unknown; known are {_KNOWN}")


def to_label(value: Any, key: str) -> bool | None:
    """A safety label: true, false, or null where a data set has none.

    Raises:
        ValueError: another value.
    """
    if value is None or isinstance(value, bool):
        return value
    raise ValueError(f"{key!r} should be true, false or null, not {value!r}")


def to_track(value: Any, default: _Default) -> Track | _Default:
    """The track a row names, or the default, which may be None.

    Raises:
        ValueError: a track that is none.
    """
    if value is None:
        return default
    for track in get_args(Track):
        if value == track:
            return track
    raise ValueError(f"the track {value!r} is unknown; known are helpfulness and safety")


def to_batch(value: Any) -> str:
    """The batch in time that a row names, by a name or a number; empty where it names none.

    Raises:
        ValueError: another value.
    """
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise ValueError(f"'batch' should be a name or a number, not {value!r}")
    return str(value).strip()
