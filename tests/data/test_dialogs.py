"""Every instruction format becomes the same dialogs."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import zstandard

from arriero.data.dialogs import read_dialogs
from arriero.records import Message, UserError

U, A = "Who carries the salt?", "The mule does."


def turns(*contents: str, roles: tuple[str, str] = ("user", "assistant")) -> list[dict[str, str]]:
    return [{"role": roles[i % 2], "content": text} for i, text in enumerate(contents)]


def tree(**more: Any) -> dict[str, Any]:
    worse = {"message_id": "2", "text": "Salt!", "role": "assistant", "rank": 1}
    better = {"message_id": "1", "text": A, "role": "assistant", "rank": 0}
    return {"message_id": "0", "text": U, "role": "prompter", "replies": [worse, better], **more}


ONE_EXCHANGE: dict[str, Any] = {
    "messages": {"messages": turns(U, A)},
    "messages of other roles": {"messages": turns(U, A, roles=("human", "Assistant"))},
    "sharegpt": {"conversations": [{"from": "human", "value": U}, {"from": "gpt", "value": A}]},
    "sharegpt as role and content": {"conversations": turns(U, A)},
    "completion": {"prompt": U, "completion": A},
    "completion with an end mark": {"prompt": U, "completion": A + "<|endoftext|>"},
    "completion of messages": {"prompt": turns(U), "completion": turns(U, A)[1:]},
    "prompt as transcript": {"prompt": f"\n\nHuman: {U}\n\nAssistant:", "completion": A},
    "question and answer": {"question": U, "answer": A},
    "alpaca": {"instruction": U, "input": "", "output": A},
    "alpaca without input": {"instruction": U, "output": A},
    "self_instruct": {"instruction": U, "instances": [{"input": "", "output": A}]},
    "hh": {"text": f"\n\nHuman: {U}\n\nAssistant: {A}"},
    "oasst tree": {"message_tree_id": "0", "tree_state": "ready_for_export", "prompt": tree()},
    "oasst message with replies": tree(parent_id=None),
}


@pytest.mark.parametrize("row", ONE_EXCHANGE.values(), ids=list(ONE_EXCHANGE))
def test_each_format_gives_the_same_dialog(write_rows, row: dict[str, Any]) -> None:
    (dialog,) = read_dialogs(write_rows("set/data.jsonl", [row]))
    assert dialog.messages == (Message("user", U), Message("assistant", A))
    assert dialog.source == "set/data"


def test_flat_tree_messages(write_rows) -> None:
    rows = [{**tree(), "parent_id": None, "replies": None}]
    rows += [{**reply, "parent_id": "0"} for reply in tree()["replies"]]
    rows.append({"message_id": "9", "text": "?", "role": "prompter", "parent_id": "lost"})
    skipped: Counter[str] = Counter()
    (dialog,) = read_dialogs(write_rows("a.jsonl", rows), skipped=skipped)
    assert dialog.messages == (Message("user", U), Message("assistant", A))
    assert skipped == {"reply to a message that is not there": 1}


def test_plain_transcript_and_table(write_text) -> None:
    (spoken,) = read_dialogs(write_text("a.txt", f"Human: {U}\n\nAssistant: {A}\n"))
    assert spoken.messages == (Message("user", U), Message("assistant", A))
    reasoned, bare = read_dialogs(
        write_text("b.tsv", "Is it far?\\nSay yes or no\tyes\tIt is high up.\nIs it?\tno\n")
    )
    assert reasoned.prompt == (Message("user", "Is it far?\nSay yes or no"),)
    assert reasoned.answer == "It is high up. The answer is yes."
    assert bare.answer == "no"


def test_system_messages_and_several_turns(write_rows) -> None:
    shared = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]
    path = write_rows(
        "a.jsonl",
        [
            {"messages": [{"role": "system", "content": "Be kind."}, *turns("a", "b", "c", "d")]},
            {"system": "Be kind.", "conversations": shared},
            {"conversations": [{"from": "system", "value": "Be kind."}, *shared]},
            {"system": "Be kind.", "prompt": "a", "completion": "b"},
            {"system": "Be kind.", "instruction": "a", "input": "", "output": "b"},
        ],
    )
    long, *short = read_dialogs(path)
    assert [message.content for message in long.messages] == ["Be kind.", "a", "b", "c", "d"]
    expected = (Message("system", "Be kind."), Message("user", "a"), Message("assistant", "b"))
    assert [dialog.messages for dialog in short] == [expected] * 4


def test_input_follows_the_instruction_and_each_instance_counts(write_rows) -> None:
    row = {
        "instruction": "Add.",
        "instances": [{"input": "1 1", "output": "2"}, {"input": "1 2", "output": "3"}],
    }
    first, second = read_dialogs(write_rows("a.jsonl", [row]))
    assert first.prompt[0].content == "Add.\n\n1 1"
    assert (first.answer, second.answer) == ("2", "3")


def test_several_paths_folders_and_compressions(tmp_path) -> None:
    rows = [{"prompt": name, "completion": "x"} for name in "abcd"]
    lines = [json.dumps(row).encode() + b"\n" for row in rows]
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "2.jsonl.gz").write_bytes(gzip.compress(lines[1]))
    (folder / "1.jsonl.zst").write_bytes(zstandard.compress(lines[0]))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([rows[2]]), folder / "3.parquet")
    (tmp_path / "d").write_bytes(lines[3])
    dialogs = read_dialogs([folder, tmp_path / "d"])
    assert [dialog.prompt[0].content for dialog in dialogs] == ["a", "b", "c", "d"]


def test_useless_rows_are_counted(write_rows) -> None:
    path = write_rows(
        "a.jsonl",
        [
            {"prompt": "a", "completion": " <|endoftext|>"},
            {"messages": turns("a", "b", "c")},
            {"messages": turns("a", " ", "c", "d")},
            {"text": "\n\nHuman: a\n\nAssistant: b\n\nAssistant: c"},
            {"message_tree_id": "0", "prompt": tree(replies=[])},
            {"prompt": "a", "completion": "b"},
        ],
    )
    skipped: Counter[str] = Counter()
    assert len(list(read_dialogs(path, skipped=skipped))) == 1
    assert skipped == {
        "empty answer": 2,
        "no answer at the end": 1,
        "turns out of order or empty": 1,
        "no answer in the tree": 1,
    }


GOOD = {"prompt": "a", "completion": "b"}
WRONG: list[tuple[Any, str]] = [
    ({"messages": turns("a", "b", roles=("assistant", "user"))}, "message 1 should come from the"),
    ({"messages": turns("a", "b", roles=("user", "user"))}, "message 2 should come from the"),
    ({"messages": turns(" ", "b")}, "user message 1 is empty"),
    ({"messages": turns("a", "b", roles=("user", "tool"))}, "message 2 has the role 'tool'"),
    ({"messages": []}, "a dialog is a list of messages"),
    ({"messages": "a"}, "a dialog is a list of messages"),
    ({"messages": ["a"]}, "message 1 is no object"),
    ({"messages": [{"role": "user", "content": None}]}, "message 1 has no content"),
    ({"conversations": [{"from": "gpt", "value": "a"}]}, "message 1 should come from the user"),
    ({"conversations": [{"from": "human", "text": "a"}]}, "message 1 has no value"),
    ({"prompt": 1, "completion": "b"}, "'prompt' should be a string"),
    ({"prompt": "a", "completion": None}, "'completion' should be a string"),
    ({"prompt": "a", "completion": turns("b")}, "'completion' should be one assistant message"),
    ({"instruction": "a", "output": 3}, "'output' should be a string"),
    ({"instruction": None, "output": "b"}, "'instruction' should be a string"),
    ({"instruction": "a", "input": 3, "output": "b"}, "'input' should be a string"),
    ({"instruction": "a", "instances": [1]}, "'instances' should be a list"),
    ({"message_tree_id": "0", "prompt": tree(replies=[{}])}, "a reply lacks"),
    ({"text": "Once upon"}, "this row holds a document, but dialogs are asked for"),
    ("a", "this row holds a prompt or a line of plain text"),
    ({"prompt": "a", "chosen": "b", "rejected": "c"}, "this row holds a preference"),
    ({"mesages": []}, "a row with 'mesages' is in no known format"),
]


@pytest.mark.parametrize(("row", "message"), WRONG)
def test_wrong_rows_are_named_by_file_and_line(write_rows, row: Any, message: str) -> None:
    path = write_rows("a.jsonl", [GOOD, GOOD, row, GOOD])
    dialogs = read_dialogs(path)
    assert [next(dialogs).answer, next(dialogs).answer] == ["b", "b"]
    with pytest.raises(UserError) as caught:
        next(dialogs)
    assert str(caught.value).startswith(f"{path}:3: {message}")
    assert "\n" not in str(caught.value)


def test_missing_and_empty_inputs(tmp_path, write_text) -> None:
    with pytest.raises(UserError, match="does not exist"):
        read_dialogs(tmp_path / "none.jsonl")
    with pytest.raises(UserError, match="holds no dialogs: it is empty"):
        list(read_dialogs(write_text("a.jsonl", "")))
