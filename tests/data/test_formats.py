"""Recognising what a row, a file or a folder is."""

from __future__ import annotations

from typing import Any

import pytest

from arriero.data.formats import detect_format, recognize
from arriero.records import UserError

SPOKEN = "\n\nHuman: Hi\n\nAssistant: Hello"
TURNS = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
NODE = {"message_id": "a", "text": "Hi", "role": "prompter", "replies": []}

ROWS: list[tuple[Any, str | None]] = [
    ({"messages": TURNS}, "messages"),
    ({"conversations": [{"from": "human", "value": "Hi"}]}, "sharegpt"),
    ({"prompt": "Hi", "chosen": "Hello", "rejected": "Go"}, "preference"),
    ({"prompt": TURNS[:1], "chosen": TURNS[1:], "rejected": TURNS[1:]}, "preference"),
    ({"chosen": TURNS, "rejected": TURNS}, "preference"),
    ({"chosen": SPOKEN, "rejected": SPOKEN}, "hh"),
    ({"prompt": SPOKEN, "chosen": SPOKEN, "rejected": SPOKEN}, "preference"),
    ({"chosen": ["Hi", "Hello"], "rejected": ["Hi", "Go"]}, "hh"),
    ({"prompt": "Hi", "chosen": ["Hello"], "rejected": ["Go"]}, "preference"),
    (
        {"context": TURNS[:1], "response1": "", "response2": "", "overall_preference": 0},
        "helpsteer",
    ),
    ({"prompt": "Hi", "response_0": "Hello", "response_1": "Go"}, "saferlhf"),
    ({"instruction": "Say", "completions": []}, "ultrafeedback"),
    ({"text": SPOKEN}, "hh"),
    ({"prompt": "Hi", "completion": "Hello"}, "completion"),
    ({"prompt": "Hi", "response": "Hello"}, "completion"),
    ({"question": "Hi?", "answer": "Hello"}, "completion"),
    ({"instruction": "Say", "input": "", "output": "Hello"}, "alpaca"),
    ({"instruction": "Say", "instances": []}, "self_instruct"),
    ({"message_tree_id": "a", "prompt": NODE}, "oasst"),
    (NODE, "oasst"),
    ({"prompt": "Hi"}, "prompt"),
    ("Hi", "prompt"),
    ({"text": "Once"}, "text"),
    ({"content": "Once"}, "text"),
    ({"prompt": "Hi", "chosen": "Hello"}, "prompt"),
    ({"chosen": "Hello"}, None),
    ({}, None),
    (["Hi"], None),
    (7, None),
]


@pytest.mark.parametrize(("row", "expected"), ROWS)
def test_rows_are_recognised_by_their_content(row: Any, expected: str | None) -> None:
    assert recognize(row) == expected


@pytest.mark.parametrize(("row", "expected"), [pair for pair in ROWS if pair[1] is not None])
def test_files_are_recognised_whatever_their_name(write_rows, row: Any, expected: str) -> None:
    assert detect_format(write_rows("data.bin", [row, row])) == expected


def test_prose_and_tables(write_text) -> None:
    assert detect_format(write_text("a.rst", "Title\n=====\n")) == "plain"
    assert detect_format(write_text("a.tsv", "q\ta\n")) == "table"
    assert detect_format(write_text("a.txt", SPOKEN)) == "hh"


def test_a_folder_is_what_its_first_file_is(write_rows, write_text, tmp_path) -> None:
    write_text("set/README.md", "about")
    write_rows("set/b.jsonl", [{"text": "x"}])
    write_rows("set/a.jsonl", [{"messages": TURNS}])
    assert detect_format(tmp_path / "set") == "messages"


def test_a_bad_first_line_does_not_hide_the_format(write_text) -> None:
    assert detect_format(write_text("a.jsonl", '{"text": \n{"text": "x"}\n')) == "text"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('\n{"mesages": []}\n', r"a\.jsonl:2: a row with 'mesages' is in no known format"),
        ("{}\n", r"a\.jsonl:1: a row with no keys"),
        ("7\n", r"a\.jsonl:1: a row is an object"),
        ("{\n", r"a\.jsonl:1: no valid JSON"),
        ("", r"a\.jsonl is empty"),
    ],
)
def test_what_cannot_be_recognised_is_named(write_text, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        detect_format(write_text("a.jsonl", text))
