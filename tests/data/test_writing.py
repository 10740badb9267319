"""What we write we read back, and a file is whole or not there."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arriero.data.dialogs import read_dialogs
from arriero.data.preferences import read_preferences
from arriero.data.prompts import read_prompts
from arriero.data.writing import write_dialogs, write_preferences, write_prompts
from arriero.records import Dialog, Message, Preference, Prompt, Rating

TEXT = st.text(min_size=1).filter(str.strip)
NAME = st.text(max_size=5)


@st.composite
def prompts_of_messages(draw: st.DrawFn) -> tuple[Message, ...]:
    system = [Message("system", draw(TEXT))] if draw(st.booleans()) else []
    pairs = draw(st.lists(st.tuples(TEXT, TEXT), max_size=2))
    history = [
        Message(role, text)
        for pair in pairs
        for role, text in zip(("user", "assistant"), pair, strict=True)
    ]
    return (*system, *history, Message("user", draw(TEXT)))


DIALOGS = st.builds(
    lambda prompt, answer, source: Dialog((*prompt, Message("assistant", answer)), source),
    prompts_of_messages(),
    TEXT,
    NAME,
)
PROMPTS = st.builds(
    Prompt,
    id=TEXT,
    messages=prompts_of_messages(),
    track=st.sampled_from(["helpfulness", "safety"]),
    category=NAME,
)
LABELS = st.sampled_from([None, True, False])
PREFERENCES = st.builds(
    Preference,
    prompt=prompts_of_messages(),
    chosen=TEXT.map(lambda text: f"a{text}a"),
    rejected=TEXT.map(lambda text: f"b{text}b"),
    rating=st.sampled_from([None, *Rating]),
    chosen_is_safe=LABELS,
    rejected_is_safe=LABELS,
    track=st.sampled_from(["helpfulness", "safety"]),
    source=NAME,
    prompt_id=NAME,
    annotator=NAME,
)


def round_trip(
    items: list[Any],
    write: Callable[[Path, Iterable[Any]], int],
    read: Callable[[Path], Iterator[Any]],
) -> list[Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "new" / "a.jsonl"
        assert write(path, iter(items)) == len(items)
        return list(read(path))


@settings(max_examples=25)
@given(st.lists(DIALOGS, min_size=1, max_size=3))
def test_dialogs_come_back(dialogs: list[Dialog]) -> None:
    assert round_trip(dialogs, write_dialogs, read_dialogs) == dialogs


@settings(max_examples=25)
@given(st.lists(PROMPTS, min_size=1, max_size=3))
def test_prompts_come_back(prompts: list[Prompt]) -> None:
    assert round_trip(prompts, write_prompts, read_prompts) == prompts


@settings(max_examples=25)
@given(st.lists(PREFERENCES, min_size=1, max_size=3))
def test_preferences_come_back(preferences: list[Preference]) -> None:
    assert round_trip(preferences, write_preferences, read_preferences) == preferences


def test_rows_are_what_others_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write_preferences(path, [Preference((Message("user", "ñ"),), "a", "b", Rating.BETTER)])
    line = path.read_text(encoding="utf-8")
    assert line.endswith("\n")
    assert "ñ" in line
    row = json.loads(line)
    assert row["prompt"] == [{"role": "user", "content": "ñ"}]
    assert (row["chosen"], row["rejected"], row["rating"]) == ("a", "b", "better")


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write_dialogs(path, [Dialog((Message("user", "a"), Message("assistant", "b")))])
    before = path.read_bytes()

    def failing() -> Iterator[Dialog]:
        yield Dialog((Message("user", "c"), Message("assistant", "d")))
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        write_dialogs(path, failing())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_cut_answer_is_read_back_as_one(tmp_path: Path) -> None:
    dialogs = [
        Dialog((Message("user", "a"),), "here").answered(answer, is_cut=is_cut)
        for answer, is_cut in (("whole", False), ("cut", True))
    ]
    write_dialogs(tmp_path / "dialogs.jsonl", dialogs)
    assert list(read_dialogs(tmp_path / "dialogs.jsonl")) == dialogs


def test_tags_of_a_dialog_come_back(tmp_path: Path) -> None:
    messages = (Message("user", "Hi."), Message("assistant", "Hello."))
    dialogs = [
        Dialog(messages, "ghost", last_answer_only=True),
        Dialog(messages, "rejection", is_cut=True),
        Dialog(messages, "plain"),
    ]
    path = tmp_path / "dialogs.jsonl"
    write_dialogs(path, dialogs)
    assert list(read_dialogs(path)) == dialogs
    assert [sorted(json.loads(line)) for line in path.read_text().splitlines()] == [
        ["last_answer_only", "messages", "source"],
        ["is_cut", "messages", "source"],
        ["messages", "source"],
    ]
