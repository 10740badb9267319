"""Tests of consistency as files: what is read, and what is refused by line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from arriero.data.consistency import read_consistency_tests
from arriero.records import ConsistencyTest, UserError

ROW: dict[str, Any] = {
    "instruction": "Act as Napoleon.",
    "turns": ["Hi.", "How are you?"],
    "question": "Who are you?",
    "expected": ["Napoleon"],
}


def written(tmp_path: Path, *rows: Any) -> Path:
    path = tmp_path / "tests.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_the_least_that_a_row_needs(tmp_path: Path) -> None:
    assert list(read_consistency_tests(written(tmp_path, ROW))) == [
        ConsistencyTest(
            "1", "Act as Napoleon.", ("Hi.", "How are you?"), "Who are you?", ("Napoleon",)
        )
    ]


def test_all_that_a_row_may_hold(tmp_path: Path) -> None:
    more = ROW | {
        "id": "a", "sentences": 1, "kind": "figure", "value": "Napoleon", "is_trained": False,
    }  # fmt: skip
    (test,) = read_consistency_tests(written(tmp_path, more))
    assert (test.id, test.sentences, test.kind, test.value) == ("a", 1, "figure", "Napoleon")
    assert not test.is_trained


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"instruction": None}, "'instruction' should be a string"),
        ({"turns": "Hi."}, "'turns' should be a list of strings"),
        ({"turns": ["Hi.", 3]}, "'turns' should be a list of strings"),
        ({"question": " "}, "hold words"),
        ({"expected": []}, "a test names `expected` words"),
        ({"expected": "Napoleon"}, "'expected' should be a list"),
        ({"sentences": -1}, "'sentences' should be a whole number"),
        ({"sentences": True}, "'sentences' should be a whole number"),
        ({"is_trained": "yes"}, "'is_trained' should be true or false"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = written(tmp_path, ROW, ROW | change)
    with pytest.raises(UserError, match=message) as caught:
        list(read_consistency_tests(path))
    assert f"{path}:2" in str(caught.value)


def test_a_file_without_tests_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="instruction"):
        list(read_consistency_tests(written(tmp_path, {"text": "a document"})))
    with pytest.raises(UserError, match="object"):
        list(read_consistency_tests(written(tmp_path, "a string")))
