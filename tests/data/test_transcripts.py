"""Dialogs written as one text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arriero.data.transcripts import is_transcript, split_turns
from arriero.records import Message


def test_turns_in_order() -> None:
    text = "\n\nHuman: One\n\ntwo \n\nAssistant:  Three\nHuman: four\n\nHuman: Five"
    assert split_turns(text) == [
        Message("user", "One\n\ntwo"),
        Message("assistant", "Three\nHuman: four"),
        Message("user", "Five"),
    ]


def test_tags_that_nobody_followed_up_are_dropped() -> None:
    text = "\n\nHuman: One\n\nAssistant: Two\n\nHuman\n\nHuman: Three\n\nAssistant: Four\n\nHuman"
    assert [turn.content for turn in split_turns(text)] == ["One", "Two", "Three", "Four"]


@pytest.mark.parametrize(
    "text", ["", "Human: alone", "He said:\n\nHuman: a\n\nAssistant: b", "Humans: a\n\nHuman: b"]
)
def test_other_text_is_no_transcript(text: str) -> None:
    assert not is_transcript(text)


CONTENT = st.text("ab c\n.:", min_size=1).map(str.strip).filter(bool)


@given(st.lists(st.tuples(st.sampled_from(["Human", "Assistant"]), CONTENT), min_size=2))
def test_any_turns_come_back(turns: list[tuple[str, str]]) -> None:
    text = "".join(f"\n\n{tag}: {content}" for tag, content in turns)
    roles = {"Human": "user", "Assistant": "assistant"}
    assert is_transcript(text)
    found = [(message.role, message.content) for message in split_turns(text)]
    assert found == [(roles[tag], content) for tag, content in turns]
