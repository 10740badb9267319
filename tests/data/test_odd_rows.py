"""However odd a row is, the readers refuse it in one line or read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from arriero.data.dialogs import to_dialogs
from arriero.data.documents import to_document
from arriero.data.preferences import to_preferences
from arriero.data.prompts import to_prompts
from arriero.data.rows import Bad, Row, convert
from arriero.records import Dialog, Preference, Prompt

KEYS = (
    "messages conversations role content from value prompt chosen rejected completion text "
    "question answer rationale instruction input output instances system source rating track "
    "prompt_id id message_tree_id message_id replies rank deleted review_result "
    "chosen_is_safe category batch strength context response1 response2 overall_preference "
    "individual_preference response_0 response_1 better_response_id safer_response_id "
    "is_response_0_safe completions annotations Rating overall_score score_chosen score_rejected"
).split()
SPOKEN = ("\n\nHuman: a\n\nAssistant: b", "\n\nHuman:\n\nAssistant:", "Assistant: a\n\nHuman: b")
WORDS = ("", " ", "a", "user", "assistant", "prompter", "human", "gpt", "safety")
LEAVES = st.sampled_from([None, True, 0, 1.5, *WORDS, *SPOKEN])
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6)
        | st.fixed_dictionaries({"role": inner, "content": inner})
        | st.fixed_dictionaries({"from": inner, "value": inner})
        | st.fixed_dictionaries({"response": inner, "overall_score": inner, "annotations": inner})
        | st.fixed_dictionaries(
            {"message_id": inner, "text": inner, "role": inner, "replies": inner}
        )
    ),
    max_leaves=12,
)


PUBLIC = (
    st.fixed_dictionaries(
        {"context": VALUES, "response1": LEAVES, "response2": LEAVES, "overall_preference": VALUES},
        optional={"individual_preference": VALUES},
    )
    | st.fixed_dictionaries(
        {"prompt": LEAVES, "response_0": LEAVES, "response_1": LEAVES},
        optional={"better_response_id": VALUES, "is_response_0_safe": VALUES},
    )
    | st.fixed_dictionaries({"instruction": LEAVES, "completions": st.lists(VALUES) | VALUES})
    | st.fixed_dictionaries(
        {"prompt": LEAVES, "chosen": LEAVES, "rejected": LEAVES},
        optional={
            "score_chosen": VALUES,
            "score_rejected": VALUES,
            "strength": VALUES,
            "mean preference difference": VALUES,
            "batch": VALUES,
        },
    )
)


@settings(max_examples=100)
@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=8) | VALUES | PUBLIC)
def test_no_row_is_a_fault_of_ours(value: Any) -> None:
    rows = [Row(value, Path("a.jsonl"), 1)]
    found = [
        *convert(rows, to_dialogs),
        *convert(rows, to_document),
        *convert(rows, to_preferences),
        *convert(rows, lambda row: to_prompts(row, "helpfulness", set())),
    ]
    for item in found:
        if isinstance(item, Bad):
            assert item.where == "a.jsonl:1"
            assert "\n" not in item.problem
        elif isinstance(item, Dialog):
            assert item.is_answered
            assert item.answer.strip()
        elif isinstance(item, Preference):
            assert item.chosen.strip() != item.rejected.strip()
            assert Prompt("p", item.prompt)
