"""Repeated and contradicting pairs, and where dropped rows stand."""

from __future__ import annotations

from typing import Any

import pytest

from arriero.data.screening import (
    CONTRADICTED,
    REPEATED,
    Dropped,
    is_kept,
    read_placed,
    without_repeats,
)
from arriero.records import Message, Preference, UserError


def pair(prompt: str, chosen: str, rejected: str, **more: Any) -> dict[str, Any]:
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, **more}


def test_repeats_and_contradictions(write_rows) -> None:
    path = write_rows(
        "a.jsonl",
        [
            pair("Who walks?", "A mule.", "Salt."),
            pair("who  walks? ", "A mule. ", "Salt.", rating="better"),  # 2: again
            pair("Who walks?", "A mule.", "Wool."),  # another pair of the prompt
            pair("Who sings?", "Bena.", "Nobody."),  # 4 and 5 contradict, 6 repeats 4
            pair("Who sings?", "Nobody.", "Bena."),
            pair("Who sings?", "Bena.", "Nobody."),
            pair("Who sings?", "bena.", "Nobody."),  # answers are compared as they are written
        ],
    )
    dropped = Dropped()
    kept = without_repeats(read_placed([path], "helpfulness", dropped), dropped)
    assert [placed.where for placed in kept] == [f"{path}:{n}" for n in (1, 3, 7)]
    assert dropped.counts == {REPEATED: 2, CONTRADICTED: 2}
    assert dropped.rows == [
        (f"{path}:2", REPEATED),
        (f"{path}:6", REPEATED),
        (f"{path}:4", CONTRADICTED),
        (f"{path}:5", CONTRADICTED),
    ]


def test_rows_of_no_use_are_named_by_line(write_rows) -> None:
    rows = [pair("a", "b", "")] * 7 + [pair("a", "b", "c"), pair("a", "b", "b ")]
    path = write_rows("a.jsonl", rows)
    dropped = Dropped()
    assert len(list(read_placed([path], "safety", dropped))) == 1
    assert dropped.counts == {"empty answer": 7, "chosen and rejected are the same": 1}
    assert dropped.first_places() == {
        "empty answer": [f"{path}:{n}" for n in range(1, 6)],
        "chosen and rejected are the same": [f"{path}:9"],
    }


def test_a_wrong_row_ends_the_reading(write_rows) -> None:
    path = write_rows("a.jsonl", [pair("a", "b", "c"), pair("a", "b", "d", batch=1.5)])
    with pytest.raises(UserError, match=r"a\.jsonl:2: 'batch' should be a name or a number"):
        list(read_placed([path], "safety", Dropped()))


def test_batches_are_named_by_rows_or_are_files(write_rows) -> None:
    first = write_rows("w1.jsonl", [pair("a", "b", "c"), pair("d", "e", "f", batch=7)])
    second = write_rows("w2.jsonl", [pair("g", "h", "i", batch=" late ")])
    for as_files, expected in ((False, ["", "7", "late"]), (True, ["w1", "7", "late"])):
        found = read_placed([first, second], "safety", Dropped(), files_are_batches=as_files)
        assert [placed.row.batch.rpartition("/")[2] for placed in found] == expected


@pytest.mark.parametrize(
    ("chosen", "rejected", "kept"),
    [
        (False, True, False),
        (False, False, True),
        (True, False, True),
        (True, True, True),
        (False, None, True),
        (None, True, True),
    ],
)
def test_no_unsafe_choice_beside_a_safe_answer(
    chosen: bool | None, rejected: bool | None, kept: bool
) -> None:
    row = Preference((Message("user", "a"),), "b", "c", None, chosen, rejected)
    assert is_kept(row) is kept
