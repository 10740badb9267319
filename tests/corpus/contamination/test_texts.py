"""What of a row is compared, and evaluation sets with their metrics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from arriero.corpus.contamination.evals import read_evals
from arriero.corpus.contamination.texts import text_of_row
from arriero.records import UserError


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a line", "a line"),
        ({"text": "t", "question": "q"}, "t"),
        ({"content": "c"}, "c"),
        ({"question": "2 + 2?", "choices": ["3", "4"], "answer": 1}, "2 + 2?\n3\n4"),
        ({"answer": "yes", "question": "no?"}, "yes\nno?"),
        ({"messages": [{"role": "user", "content": "hi"}, {"content": "ho"}]}, "hi\nho"),
        ({"conversations": [{"from": "human", "value": "hi"}]}, "hi"),
        ({"question": "q", "choices": {"text": ["a", "b"]}}, "q\na\nb"),
        ({"question": "q", "options": {"A": "x", "B": "y"}}, "q\nx\ny"),
        ({"ID": "1", "Body": "b", "Question": "q", "Equation": "e", "Answer": 2.0}, "b\nq"),
        ({"prompt": None, "answer": ""}, None),
        ({"prompt": "", "answer": None}, ""),
    ],
)
def test_text_is_found(value: Any, text: str | None) -> None:
    assert text_of_row(value) == (text or "")


def test_fields_that_are_named() -> None:
    row = {"a": "x", "b": 3, "c": ["y", "z"], "text": "not this"}
    assert text_of_row(row, ["c", "b", "a"]) == "y\nz\n3\nx"
    with pytest.raises(ValueError, match="no field 'd'; it has 'a', 'b', 'c', 'text'"):
        text_of_row(row, ["a", "d"])


@pytest.mark.parametrize("value", [3, None, ["a"]])
def test_rows_without_fields(value: Any) -> None:
    with pytest.raises(ValueError, match="no object with fields"):
        text_of_row(value)


def test_no_name_is_known() -> None:
    for option in ("--fields", "--corpus-fields"):
        problem = f"no field that holds text by its name; .* with {option}; it has 'x', 'n'"
        with pytest.raises(ValueError, match=problem):
            text_of_row({"x": "y", "n": 1}, (), option)


def lines(path: Path, *rows: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


ROWS = [{"question": "one", "score": 1}, {"id": "b", "question": "two", "score": 0.5}]


def test_sets_are_named_after_their_files(tmp_path: Path) -> None:
    first = lines(tmp_path / "x" / "test.jsonl", *ROWS)
    second = lines(tmp_path / "y" / "test.jsonl", *ROWS)
    third = tmp_path / "y" / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS[1:]), third)
    sets = read_evals([first, tmp_path / "y"])
    assert [each.name for each in sets] == ["x/test", "rows", "y/test"]
    assert [(s.id, s.line, s.text, s.value) for s in sets[0].samples] == [
        ("1", 1, "one", None),
        ("b", 2, "two", None),
    ]
    assert [sample.id for sample in sets[1].samples] == ["b"]
    assert second.exists()
    assert not sets[0].has_metric


def test_a_set_that_is_named_twice(tmp_path: Path) -> None:
    path = lines(tmp_path / "test.jsonl", *ROWS)
    with pytest.raises(UserError, match="two evaluation sets are called"):
        read_evals([path, path])


def test_metric_of_a_field(tmp_path: Path) -> None:
    (given,) = read_evals([lines(tmp_path / "a.jsonl", *ROWS)], metric="score")
    assert [sample.value for sample in given.samples] == [1.0, 0.5]
    assert given.has_metric


def test_metric_of_a_file(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", *ROWS)
    values = lines(tmp_path / "v.jsonl", {"id": "b", "value": False}, {"id": 1, "value": 0.25})
    (given,) = read_evals([path], metric=str(values))
    assert [sample.value for sample in given.samples] == [0.25, 0.0]


def test_metric_of_several_sets(tmp_path: Path) -> None:
    paths = [lines(tmp_path / f"{name}.jsonl", ROWS[0]) for name in "ab"]
    rows = [{"dataset": name, "id": 1, "value": value} for name, value in (("b", 2), ("a", 1))]
    sets = read_evals(paths, metric=str(lines(tmp_path / "v.jsonl", *rows)))
    assert [each.samples[0].value for each in sets] == [1.0, 2.0]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"id": 1, "value": 1}], "no value for a b, nor for 0 more"),
        ([{"id": 1, "value": 1}, {"id": "b", "value": 1}, {"id": "c", "value": 1}],
         "a has no sample c"),
        ([{"id": 1, "value": 1}, {"id": "1", "value": 2}], "a 1 has a value already"),
        ([{"value": 1}], "no `id`"),
        ([{"id": 1, "value": "high"}], "'value' should be a number"),
        ([{"id": 1, "value": 1, "dataset": "z"}], "`dataset` should be one of a"),
    ],
)  # fmt: skip
def test_metric_files_that_are_wrong(rows: list[Any], message: str, tmp_path: Path) -> None:
    values = lines(tmp_path / "v.jsonl", *rows)
    with pytest.raises(UserError, match=message):
        read_evals([lines(tmp_path / "a.jsonl", *ROWS)], metric=str(values))


@pytest.mark.parametrize(
    ("content", "how", "message"),
    [
        (b"", {}, "a.jsonl holds no samples"),
        (b'{"question": "one"}\n{"question": ', {}, "a.jsonl:2: no valid JSON"),
        (b'{"question": "one"}\n{"x": "two"}\n', {}, "a.jsonl:2: no field that holds text"),
        (b'{"question": "one"}\n', {"fields": ["body"]}, "a.jsonl:1: no field 'body'"),
        (b'{"question": "one"}\n', {"metric": "score"}, "a.jsonl:1: 'score' should be a number"),
        (b'{"question": "one", "score": NaN}\n', {"metric": "score"}, "should be a number"),
        (b'{"question": "\xff"}\n', {}, "a.jsonl:1: .*not UTF-8"),
        (b"one\0two", {}, "is no text"),
    ],
)
def test_samples_that_are_wrong(
    content: bytes, how: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_evals([path], **how)


def test_a_set_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        read_evals([tmp_path / "none.jsonl"])


def table(path: Path, content: str) -> Path:
    path.write_bytes(content.encode())
    return path


def test_csv_without_names_of_columns(tmp_path: Path) -> None:
    """As MMLU has it: a cell may hold line breaks, and no row is a sample twice."""
    content = '"One,\nand ""two""?",1,2,A\r\n\r\nThree?,3,4,B\r\n'
    (found,) = read_evals([table(tmp_path / "mmlu.csv", content)])
    assert [sample.text for sample in found.samples] == [
        'One,\nand "two"?\n1\n2\nA',
        "Three?\n3\n4\nB",
    ]
    assert [(sample.id, sample.line) for sample in found.samples] == [("1", 1), ("4", 4)]


def test_csv_with_names_of_columns(tmp_path: Path) -> None:
    content = "Type,Question,Source,right\na,Why?,http://x.example,True\nb,How?,,0.25\n"
    path = table(tmp_path / "truth.csv", content)
    (found,) = read_evals([path], metric="right")
    assert [sample.text for sample in found.samples] == ["Why?", "How?"]
    assert [sample.value for sample in found.samples] == [1.0, 0.25]
    (found,) = read_evals([path], fields=["Type", "Source"])
    assert [sample.text for sample in found.samples] == ["a\nhttp://x.example", "b"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "question,answer\nWhy?\n", r"a\.csv:2: 1 cells in 2 columns"),
        ("a.csv", "question,score\nWhy?,much\n", r"a\.csv:2: 'score' should be a number"),
        ("a.csv", f"{'x' * 140_000}\n", r"a\.csv:1: no row of CSV"),
        ("a.xml", "<set>\n<question>Why?</question>\n</set>\n", "its lines are no samples"),
    ],
)
def test_tables_that_are_wrong(name: str, content: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        read_evals([table(tmp_path / name, content)], metric="score" if "score" in content else "")
