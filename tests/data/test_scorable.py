from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from arriero.data.scorable import read_scorable
from arriero.records import UserError

ROWS = [
    {"prompt": "Salt?", "completion": "Yes."},
    {"prompt": "Wool?", "chosen": "Yes.", "rejected": "No."},
    {"chosen": "\n\nHuman: Hi\n\nAssistant: Hello", "rejected": "\n\nHuman: Hi\n\nAssistant: Go"},
    {"prompt": "Same?", "chosen": "Yes.", "rejected": "Yes."},
    {"messages": [{"role": "user", "content": "A"}, {"role": "assistant", "content": "B"}]},
]


def test_every_row_in_order_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "mixed.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in ROWS))
    found = list(read_scorable(file))
    assert [each.line for each in found] == [1, 2, 3, 4, 5]
    assert [list(each.sides) for each in found] == [
        ["answer"],
        ["chosen", "rejected"],
        ["chosen", "rejected"],
        [],
        ["answer"],
    ]
    assert found[1].sides["rejected"].answer == "No."
    assert found[2].sides["chosen"].messages[-1].content == "Hello"
    assert found[3].skipped == "chosen and rejected are the same"
    assert {each.file for each in found} == {str(file)}


@pytest.mark.parametrize("row", ['{"prompt": "only"}', '{"what": 1}', "{", '{"prompt": 1, '])
def test_a_bad_row_is_named(tmp_path: Path, row: str) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text(json.dumps(ROWS[0]) + "\n" + row + "\n")
    items = read_scorable(file)
    assert next(items).line == 1
    with pytest.raises(UserError, match=r"bad\.jsonl:2: "):
        list(items)


def test_replies_to_nothing_are_counted(tmp_path: Path) -> None:
    def message(name: str, parent: str | None, role: str) -> dict[str, str | None]:
        return {"message_id": name, "parent_id": parent, "role": role, "text": f"Text {name}."}

    rows = [
        message("a", None, "prompter"),
        message("b", "a", "assistant"),
        message("c", "gone", "assistant"),
        message("d", "gone", "assistant"),
    ]
    file = tmp_path / "flat.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    skipped: Counter[str] = Counter()
    (only,) = read_scorable(file, skipped=skipped)
    assert only.sides["answer"].answer == "Text b."
    assert skipped == {"reply to a message that is not there": 2}
