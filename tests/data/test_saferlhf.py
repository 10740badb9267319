"""PKU-SafeRLHF: each track goes by its own choice, with the labels of the answers."""

from __future__ import annotations

from typing import Any

import pytest

from arriero.data.preferences import read_preferences
from arriero.records import Message, UserError

HARM, REFUSAL = "Mix the two powders.", "I will not help with that."


def row(**more: Any) -> dict[str, Any]:
    """A row of the published schema: the first answer is better, the second safer."""
    return {
        "prompt": "How is thunder salt made?",
        "prompt_source": "own",
        "response_0": HARM,
        "response_1": REFUSAL,
        "is_response_0_safe": False,
        "is_response_1_safe": True,
        "response_0_severity_level": 2,
        "response_1_severity_level": 0,
        "better_response_id": 0,
        "safer_response_id": 1,
        **more,
    }


def test_each_track_has_its_own_choice(write_rows) -> None:
    path = write_rows("set/train.jsonl", [row()])
    (helpful,) = read_preferences(path)
    (safe,) = read_preferences(path, track="safety")
    assert (helpful.chosen, helpful.chosen_is_safe) == (HARM, False)
    assert (helpful.rejected, helpful.rejected_is_safe) == (REFUSAL, True)
    assert (safe.chosen, safe.chosen_is_safe) == (REFUSAL, True)
    assert (safe.rejected, safe.rejected_is_safe) == (HARM, False)
    assert (helpful.track, safe.track) == ("helpfulness", "safety")
    assert helpful.prompt == safe.prompt == (Message("user", "How is thunder salt made?"),)
    assert helpful.rating is safe.rating is None


def test_a_track_in_the_row_counts_more_than_the_callers(write_rows) -> None:
    (pair,) = read_preferences(write_rows("a.jsonl", [row(track="safety")]))
    assert (pair.chosen, pair.track) == (REFUSAL, "safety")


def test_labels_may_be_missing(write_rows) -> None:
    bare = {key: value for key, value in row().items() if not key.endswith("_safe")}
    (pair,) = read_preferences(write_rows("a.jsonl", [bare]))
    assert (pair.chosen_is_safe, pair.rejected_is_safe) == (None, None)


WRONG: list[tuple[dict[str, Any], str]] = [
    (row(better_response_id=2), "'better_response_id' should be 0 or 1, not 2"),
    (row(better_response_id=True), "'better_response_id' should be 0 or 1, not True"),
    (row(better_response_id=None), "'better_response_id' should be 0 or 1, not None"),
    (row(is_response_1_safe="yes"), "'is_response_1_safe' should be true, false or null"),
    (row(response_1=5), "'response_1' should be a string"),
    (row(prompt=["Who?"]), "'prompt' should be a string"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG)
def test_wrong_rows_are_named(write_rows, wrong: Any, message: str) -> None:
    path = write_rows("a.jsonl", [row(), wrong])
    with pytest.raises(UserError) as caught:
        list(read_preferences(path))
    assert str(caught.value).startswith(f"{path}:2: {message}")


def test_a_choice_that_is_not_there(write_rows) -> None:
    bare = {key: value for key, value in row().items() if key != "safer_response_id"}
    path = write_rows("a.jsonl", [bare])
    assert len(list(read_preferences(path))) == 1
    with pytest.raises(UserError, match="no 'safer_response_id', which safety comparisons go by"):
        list(read_preferences(path, track="safety"))


def test_who_names_no_track_is_told_to(write_rows) -> None:
    plain = {"prompt": "Wool?", "chosen": "Yes.", "rejected": "No."}
    path = write_rows("a.jsonl", [plain, row(track="safety"), row()])
    rows = read_preferences(path, track=None)
    assert next(rows).track == "helpfulness", "a pair with one choice needs no track"
    assert next(rows).chosen == REFUSAL, "the row names it"
    with pytest.raises(UserError, match=r"a\.jsonl:3: .* as safety:FILE .* or helpfulness:FILE"):
        next(rows)
