"""Ratings, labels, tracks and ids."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from arriero.data.tags import prompt_id, to_label, to_rating, to_track
from arriero.records import Message, Rating


@pytest.mark.parametrize(
    ("value", "rating"),
    [
        ("significantly_better", Rating.SIGNIFICANTLY_BETTER),
        ("Better", Rating.BETTER),
        ("slightly better", Rating.SLIGHTLY_BETTER),
        ("negligibly", Rating.NEGLIGIBLY_BETTER),
        (3, Rating.SIGNIFICANTLY_BETTER),
        (2.0, Rating.BETTER),
        (1, Rating.SLIGHTLY_BETTER),
        (0, Rating.NEGLIGIBLY_BETTER),
        (None, None),
    ],
)
def test_ratings(value: Any, rating: Rating | None) -> None:
    assert to_rating(value) is rating


@pytest.mark.parametrize("value", ["best", "", 4, -1, 0.5, True, [3], {}])
def test_unknown_ratings(value: Any) -> None:
    with pytest.raises(ValueError, match="significantly_better, better, slightly_better"):
        to_rating(value)


def test_labels_and_tracks() -> None:
    assert [to_label(value, "a") for value in (True, False, None)] == [True, False, None]
    with pytest.raises(ValueError, match="'a' should be true, false or null, not 1"):
        to_label(1, "a")
    assert to_track(None, "safety") == "safety"
    assert to_track("helpfulness", "safety") == "helpfulness"
    with pytest.raises(ValueError, match="known are helpfulness and safety"):
        to_track("harm", "safety")


def test_an_id_follows_from_the_words_and_roles() -> None:
    prompt = [Message("user", "a"), Message("assistant", "b"), Message("user", "c")]
    assert prompt_id(prompt) == prompt_id([Message("user", " a\n"), *prompt[1:]])
    others = [prompt[:1], [Message("user", "abc")], [Message("system", "a"), Message("user", "c")]]
    assert len({prompt_id(other) for other in [prompt, *others]}) == 4
    assert prompt_id([Message("user", "a")]) == hashlib.sha256(b'[["user", "a"]]').hexdigest()[:16]
