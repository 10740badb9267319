from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from arriero.data.responses import holds_responses, read_responses
from arriero.records import Dialog, Message, RatedResponse, UserError


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_grades_and_labels_are_read(tmp_path: Path) -> None:
    file = write(
        tmp_path / "graded.jsonl",
        {"prompt": "Salt?", "response": "In the river.", "score": 7},
        {"prompt": "Wool?", "answer": "Yes.", "is_safe": False},
        {
            "messages": [
                {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": "Hello"},
            ],
            "score": 2.5,
            "is_safe": True,
        },
        {"prompt": "Stone?", "response": "No."},
        {"prompt": "Mule?", "response": "", "score": 1},
    )
    assert holds_responses(file)
    skipped: Counter[str] = Counter()
    found = list(read_responses(file, skipped=skipped))
    first = Dialog((Message("user", "Salt?"), Message("assistant", "In the river.")), "graded")
    assert found[0].dialog.messages == first.messages
    assert [(each.grade, each.is_safe) for each in found] == [(7, None), (None, False), (2.5, True)]
    assert all(isinstance(each, RatedResponse) for each in found)
    assert skipped["neither a score nor a label"] == 1
    assert skipped.total() == 2


@pytest.mark.parametrize("score", [0, 8, "7", True, [3]])
def test_a_grade_outside_the_scale_is_named(tmp_path: Path, score: object) -> None:
    good = {"prompt": "Salt?", "response": "Yes.", "score": 4}
    file = write(tmp_path / "bad.jsonl", good, {**good, "score": score})
    with pytest.raises(UserError, match=r"bad\.jsonl:2: 'score' should be a number from 1 to 7"):
        list(read_responses(file))


def test_pairs_are_no_responses(tmp_path: Path) -> None:
    row = {"prompt": "Salt?", "chosen": "Yes.", "rejected": "No."}
    assert not holds_responses(write(tmp_path / "pairs.jsonl", row))


def test_pairs_with_a_grade_or_a_label_are_no_responses(tmp_path: Path) -> None:
    pairs = [
        {"prompt": "Salt?", "chosen": "Yes.", "rejected": "No.", "score": 4},
        {"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nAssistant: c"},
        {"prompt": "Salt?", "response_0": "Yes.", "response_1": "No.", "better_response_id": 0},
    ]
    for number, row in enumerate(pairs):
        assert not holds_responses(write(tmp_path / f"{number}.jsonl", {**row, "is_safe": True}))
