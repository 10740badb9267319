"""What holds the rows, and rows that cannot be read."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from arriero.data.dialogs import read_dialogs
from arriero.data.rows import Bad, Row, Skip, container_of, convert, read_rows, require
from arriero.records import UserError


def values(path: Path) -> list[Any]:
    return [row.value if isinstance(row, Row) else row for row in read_rows(path)]


@pytest.mark.parametrize(
    ("name", "text", "container"),
    [
        ("a.txt", '{"text": "x"}\n', "json lines"),
        ("a.txt", '{"text": broken\n{"text": "y"}\n', "json lines"),
        ("a.jsonl", "broken\n", "json lines"),
        ("a.jsonl.gz", "broken\n", "json lines"),
        ("a.json", '{"text": "x"}\n', "json lines"),
        ("a.json", '{\n "text": "x"\n}\n', "json document"),
        ("a", '{\n "text": "x"\n}\n', "json document"),
        ("a.txt", '["x", "y"]', "json document"),
        ("a.txt", "[\n1", "json document"),
        ("a", '"one"\n"two"\n', "json lines"),
        ("a.txt", '"Go," she said.\nHe went.\n', "plain"),
        ("a.md", "[a link](b)\n\ntext", "plain"),
        ("a.txt", "[Illustration]\n", "plain"),
        ("a.txt", "42\n", "plain"),
        ("a.txt", "q\ta\nq\ta\n", "table"),
        ("a.tsv", "q a\n", "table"),
        ("a.txt", "q\ta\nno tab\n", "plain"),
        ("a.md", "q\ta\nq\ta\n", "plain"),
        ("a.txt", "\n\nHuman: Hi\n\nAssistant: Hello\n", "transcript"),
        ("a.txt", "Human: all too human\n", "plain"),
        ("a.txt", "", "plain"),
    ],
)
def test_containers(write_text, name: str, text: str, container: str) -> None:
    assert container_of(write_text(name, text)) == container


def test_bad_lines_keep_their_numbers_and_stop_nothing(write_text) -> None:
    path = write_text("a.jsonl", '{"a": 1}\n\n{"a": \n{"a": 2}\n"\\ud800"\n')
    found = list(read_rows(path))
    assert [row.value for row in found if isinstance(row, Row)] == [{"a": 1}, {"a": 2}]
    bad = [row for row in found if isinstance(row, Bad)]
    assert [row.where for row in bad] == [f"{path}:3", f"{path}:5"]
    assert "no valid JSON (Expecting value at column 7)" in bad[0].problem
    assert "half of a" in bad[1].problem


def test_a_line_in_another_encoding_is_bad(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": "\xf6"}\n')
    (bad,) = [row for row in read_rows(path) if isinstance(row, Bad)]
    assert bad.where == f"{path}:2"
    assert "not UTF-8" in bad.problem


def test_a_nested_bomb_is_bad(write_text) -> None:
    path = write_text("a.jsonl", '{"a":' * 100_000 + "\n")
    (bad,) = read_rows(path)
    assert isinstance(bad, Bad)


def test_an_array_gives_its_elements_with_their_lines(write_text) -> None:
    path = write_text("a.json", '\n[\n  {"a": 1},\n  {\n   "a": 2}\n,\n3]\n')
    rows = [row for row in read_rows(path) if isinstance(row, Row)]
    assert [(row.value, row.line) for row in rows] == [({"a": 1}, 3), ({"a": 2}, 4), (3, 7)]


@pytest.mark.parametrize(
    "text", ['[{"a": 1}\n{"a": 2}]', '[{"a": 1},\n{', '["a"\n] x', '{\n"a" 1}']
)
def test_a_broken_document_is_bad_at_its_line(write_text, text: str) -> None:
    path = write_text("a.json", text)
    *_, bad = read_rows(path)
    assert isinstance(bad, Bad)
    assert bad.where == f"{path}:2"


def test_an_empty_array_has_no_rows(write_text) -> None:
    assert values(write_text("a.json", "[ ]")) == []


def test_tables_restore_line_breaks_and_name_other_widths(write_text) -> None:
    path = write_text("a.tsv", "one\\ntwo\tyes\twhy\nq\ta\n\nlonely\n")
    first, second, bad = read_rows(path)
    assert isinstance(first, Row)
    assert isinstance(second, Row)
    assert first.value == {"question": "one\ntwo", "answer": "yes", "rationale": "why"}
    assert second.value == {"question": "q", "answer": "a"}
    assert isinstance(bad, Bad)
    assert bad.where == f"{path}:4"
    assert bad.problem.startswith("1 columns")


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    pyarrow.parquet.write_table(pyarrow.table({"text": ["x", "y"]}), path)
    rows = [row for row in read_rows(path) if isinstance(row, Row)]
    assert [(row.value, row.where) for row in rows] == [
        ({"text": "x"}, f"{path}:1"),
        ({"text": "y"}, f"{path}:2"),
    ]


def test_damaged_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(UserError, match="no whole parquet file"):
        values(path)


def test_parquet_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"pip install arriero\[corpus\]"):
        values(path)


def test_hub_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(
        name: str, configuration: str | None, *, split: str, streaming: bool
    ) -> list[dict[str, str]]:
        if name != "owner/name":
            raise FileNotFoundError(f"{name} is not on the hub")
        return [{"text": " ".join(filter(None, [configuration, split]))}]

    stand_in = ModuleType("datasets")
    stand_in.__dict__["load_dataset"] = load_dataset
    monkeypatch.setitem(sys.modules, "datasets", stand_in)
    assert values(Path("hf:owner/name")) == [{"text": "train"}]
    assert values(Path("hf:owner/name:test")) == [{"text": "test"}]
    assert values(Path("hf:owner/name/other:test")) == [{"text": "other test"}]
    with pytest.raises(UserError, match="hf:owner/other: owner/other is not on the hub; check"):
        values(Path("hf:owner/other"))
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"needs datasets; .*arriero\[corpus\]"):
        values(Path("hf:owner/name"))


def test_convert_turns_value_errors_into_bad_rows(tmp_path: Path) -> None:
    rows = [Row(value, tmp_path, line) for line, value in enumerate(["1", "x", "2"], 1)]
    found = list(convert(rows, lambda row: [int(row.value)]))
    assert found[0] == 1
    assert found[2] == 2
    assert isinstance(found[1], Bad)
    assert found[1].where == f"{tmp_path}:2"


def test_every_path_has_to_bring_something(write_text) -> None:
    full, empty = write_text("full.txt", "x"), write_text("empty.txt", " \n")
    items = require([full, empty], lambda file: read_rows(file), "rows", None)
    assert next(items).value == "x"
    with pytest.raises(UserError, match=r"empty\.txt holds no rows: it is empty"):
        next(items)
    nothing = require([full], lambda _: [Skip("why", 2), Skip("that")], "rows", None)
    with pytest.raises(UserError, match=r"holds no rows that can be used: why \(2\), that \(1\)"):
        list(nothing)


@pytest.mark.parametrize(
    ("name", "text", "where"),
    [
        ("a.json", '[{"text": "fine"}, {"text": "\\ud800"}]', "half of a"),
        ("a.jsonl", '{"text": "\\ud800"}\n', "half of a"),
        ("a.json", '[{"text": ' + "9" * 5000 + "}]", "digits"),
        ("a.jsonl", '{"text": ' + "9" * 5000 + "}\n", "digits"),
    ],
)
def test_what_json_reads_and_nothing_can_write(
    tmp_path: Path, name: str, text: str, where: str
) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="ascii")
    (bad,) = [row for row in read_rows(path) if isinstance(row, Bad)]
    assert bad.where == f"{path}:1"
    assert where in bad.problem


def test_messages_of_a_tree_are_named_by_text(tmp_path: Path) -> None:
    path = tmp_path / "tree.jsonl"
    row = {"message_id": [1], "parent_id": None, "text": "a", "role": "prompter"}
    path.write_text(json.dumps(row) + "\n")
    with pytest.raises(UserError, match=r"tree\.jsonl:1"):
        list(read_dialogs(path))
