"""Prompts that two files share, whatever their formats."""

from __future__ import annotations

import json

import pytest

from arriero.cli import main
from arriero.data.leaks import find_leaks, render_leaks
from arriero.records import UserError

TRAIN = [
    {"prompt": "Who walks?", "chosen": "A mule.", "rejected": "Salt."},
    {"chosen": "\n\nHuman: Who sings?\n\nAssistant: Bena", "rejected": "\n\nHuman: Who sings?"
     "\n\nAssistant: Nobody"},
    {"prompt": "Why?", "chosen": "So.", "rejected": "So."},
]  # fmt: skip
TEST = [
    {"messages": [{"role": "user", "content": " who  SINGS?"}]},
    {"prompt": "Who sleeps?"},
    "Who walks? ",
    "Who walks?",
]


def test_the_same_prompt_in_other_words_of_case_and_space(write_rows) -> None:
    train, test = write_rows("train.jsonl", TRAIN), write_rows("test.jsonl", TEST)
    found = find_leaks(test, train)
    assert [(leak.where, leak.other) for leak in found] == [
        (f"{test}:1", f"{train}:2"),
        (f"{test}:3", f"{train}:1"),
        (f"{test}:4", f"{train}:1"),
    ]
    assert render_leaks(found).splitlines()[:2] == [
        "prompts in both: 3",
        f"  {test}:1: the prompt of {train}:2",
    ]
    assert find_leaks(write_rows("other.jsonl", ["Who sits?"]), train) == []
    assert "and 2 more" in render_leaks(found * 4)


def test_a_history_makes_another_prompt(write_rows) -> None:
    turns = [{"role": role, "content": text} for role, text in (
        ("user", "Hi"), ("assistant", "Hello"), ("user", "Who walks?"))]  # fmt: skip
    longer = write_rows("longer.jsonl", [{"messages": turns}])
    assert find_leaks(longer, write_rows("train.jsonl", TRAIN)) == []


def test_a_row_that_cannot_be_compared_is_named(write_rows) -> None:
    train = write_rows("train.jsonl", TRAIN)
    wrong = write_rows("wrong.jsonl", ["Who?", {"prompt": 3}])
    for pair in ((train, wrong), (wrong, train)):
        with pytest.raises(UserError, match=r"wrong\.jsonl:2: 'prompt' should be"):
            find_leaks(*pair)


def test_the_command_says_so_and_fails(write_rows, capsys: pytest.CaptureFixture[str]) -> None:
    train, test = write_rows("train.jsonl", TRAIN), write_rows("test.jsonl", TEST)
    assert main(["check-data", str(test), "--against", str(train)]) == 2
    out, err = capsys.readouterr()
    assert "prompts in both: 3" in out
    assert err == f"arriero: {test}:1: {train} has this prompt too; remove it from one\n"
    test.write_text(json.dumps("Who sits?") + "\n")
    assert main(["check-data", str(test), "--against", str(train)]) == 0
    assert "prompts in both: 0" in capsys.readouterr().out
