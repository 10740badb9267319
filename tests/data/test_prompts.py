"""Prompts from rows of their own and from rows that answer them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from arriero.data.prompts import read_prompts
from arriero.data.tags import prompt_id
from arriero.records import Message, UserError

U = "Who carries the salt?"
USER = {"role": "user", "content": U}
ANSWER = {"role": "assistant", "content": "The mule."}
SPOKEN = f"\n\nHuman: {U}\n\nAssistant: The mule"
REPLY = {"message_id": "1", "text": "The mule.", "role": "assistant"}

ONE_PROMPT: dict[str, Any] = {
    "string": U,
    "prompt": {"prompt": U},
    "prompt as messages": {"prompt": [USER]},
    "question": {"question": U},
    "open transcript": {"prompt": f"\n\nHuman: {U}\n\nAssistant:"},
    "messages": {"messages": [USER]},
    "answered messages": {"messages": [USER, ANSWER]},
    "completion": {"prompt": U, "completion": "The mule."},
    "alpaca": {"instruction": U, "output": "The mule."},
    "preference": {"prompt": U, "chosen": "The mule.", "rejected": "Salt."},
    "hh": {"chosen": SPOKEN + ".", "rejected": SPOKEN + "!"},
    "hh text": {"text": SPOKEN},
    "oasst": {"message_id": "0", "text": U, "role": "prompter", "replies": [REPLY]},
}


@pytest.mark.parametrize("row", ONE_PROMPT.values(), ids=list(ONE_PROMPT))
def test_each_format_gives_the_same_prompt(write_rows, row: Any) -> None:
    (prompt,) = read_prompts(write_rows("a.jsonl", [row]), track="safety")
    assert prompt.messages == (Message("user", U),)
    assert prompt.id == prompt_id(prompt.messages)
    assert (prompt.track, prompt.category) == ("safety", "")


def test_lines_of_plain_text_and_arrays_of_strings(write_text) -> None:
    plain = read_prompts(write_text("a.txt", "One?\n\n Two?\n"))
    assert [prompt.messages[0].content for prompt in plain] == ["One?", "Two?"]
    array = read_prompts(write_text("a.json", '["One?",\n "Two?"]'))
    assert [prompt.messages[0].content for prompt in array] == ["One?", "Two?"]


def test_tags_are_read(write_rows) -> None:
    rows = [
        {"id": 5, "messages": [USER], "track": "safety", "category": "trade"},
        {"prompt_id": "p", "prompt": U, "chosen": "a", "rejected": "b", "id": 9},
    ]
    first, second = read_prompts(write_rows("a.jsonl", rows))
    assert (first.id, first.track, first.category) == ("5", "safety", "trade")
    assert (second.id, second.track) == ("p", "helpfulness")


def test_a_prompt_comes_once_unless_its_rows_say_otherwise(write_rows) -> None:
    pair = {"prompt": "a", "chosen": "b", "rejected": "c"}
    first = write_rows("a.jsonl", ["a", "a", pair, {"prompt": "a", "completion": "b", "id": 1}])
    second = write_rows("b.jsonl", [{**pair, "prompt_id": "p"}, {**pair, "prompt_id": "p"}])
    third = write_rows("c.jsonl", [{"id": "x", "prompt": "a"}, {"id": "x", "prompt": "a"}])
    skipped: Counter[str] = Counter()
    found = [prompt.id for prompt in read_prompts([first, second, third], skipped=skipped)]
    assert found == [prompt_id([Message("user", "a")]), "p", "x", "x"]
    assert skipped == {"repeated prompt": 4}


WRONG: list[tuple[Any, str]] = [
    ({"text": "Once"}, "this row holds a document, but prompts are asked for"),
    ({"prompt": 3}, "'prompt' should be a string or messages"),
    ({"prompt": ""}, "user message 1 is empty"),
    ({"messages": [ANSWER, USER]}, "message 1 should come from the user"),
    ({"prompt": [USER, ANSWER]}, "a prompt ends with a user message"),
    ({"prompt": "b", "track": "harm"}, "the track 'harm' is unknown"),
    (3, "a row is an object, or a string"),
]


@pytest.mark.parametrize(("row", "message"), WRONG)
def test_wrong_rows_are_named_by_file_and_line(write_rows, row: Any, message: str) -> None:
    path = write_rows("a.jsonl", ["a", row])
    with pytest.raises(UserError) as caught:
        list(read_prompts(path))
    assert str(caught.value).startswith(f"{path}:2: {message}")
