"""What check_data says, and which tokens it marks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from arriero.data.check import check_data, mark_example, render_check
from arriero.records import Dialog, Message, Preference, Prompt, UserError
from arriero.tokenizer import Tokenizer, load_tokenizer
from arriero.tokenizer.chat import encode_dialog
from tests.tokenizer.families import llama3

DIALOG = Dialog(
    tuple(
        Message(("user", "assistant")[i % 2], text)
        for i, text in enumerate(["Who walks?", "A mule.", "And?", "No mule."])
    )
)
ROW = {"messages": [{"role": each.role, "content": each.content} for each in DIALOG.messages]}
PAIR = {"prompt": "Who?", "chosen": "A mule.", "rejected": "Salt."}
SPOKEN = "\n\nHuman: Who?\n\nAssistant: A mule"

KINDS: list[tuple[Any, str, str]] = [
    (ROW, "messages", "dialogs"),
    ({"messages": ROW["messages"][:3]}, "messages", "prompts"),
    (PAIR, "preference", "preferences"),
    ({"chosen": SPOKEN, "rejected": SPOKEN + "!"}, "hh", "preferences"),
    ({"text": SPOKEN}, "hh", "dialogs"),
    ({"text": "Once"}, "text", "documents"),
    ("Who?", "prompt", "prompts"),
    ({"instruction": "Who?", "output": "He."}, "alpaca", "dialogs"),
]


@pytest.mark.parametrize(("row", "found", "kind"), KINDS)
def test_formats_and_kinds(write_rows, row: Any, found: str, kind: str) -> None:
    report = check_data(write_rows("a.jsonl", [row]))
    assert (report.format, report.kind) == (found, kind)
    assert (report.num_rows, report.num_usable, report.num_bad) == (1, 1, 0)
    assert found in render_check(report)


def test_it_goes_on_past_bad_rows_and_names_the_first(write_text) -> None:
    good = '{"prompt": "a", "completion": "b"}\n'
    empty = '{"prompt": "a", "completion": ""}\n'
    path = write_text("a.jsonl", good + "{\n" + empty + "{}\n" * 11 + good)
    report = check_data(path)
    assert (report.num_rows, report.num_usable, report.num_bad) == (15, 2, 12)
    assert report.skipped == {"empty answer": 1}
    assert len(report.problems) == 10
    text = render_check(report)
    assert f"  {path}:2: no valid JSON" in text
    assert f"  {path}:4: a row with no keys" in text
    assert "and 2 more" in text
    assert f"skipped, empty answer: 1, first {path}:3\n" in text


def test_a_file_of_nothing_but_bad_rows_is_reported(write_rows) -> None:
    report = check_data(write_rows("a.jsonl", [{"prompt": 3, "completion": "b"}]))
    assert report.example is None
    assert "nothing here can be used" in render_check(report)


def test_trees_show_their_pairs_too(write_rows) -> None:
    replies = [
        {"message_id": str(rank), "text": f"answer {rank}", "role": "assistant", "rank": rank}
        for rank in range(3)
    ]
    root = {"message_id": "q", "text": "Who?", "role": "prompter", "replies": replies}
    report = check_data(write_rows("a.jsonl", [{"message_tree_id": "q", "prompt": root}]))
    assert (report.num_usable, report.num_pairs) == (1, 3)


def test_prose_counts_its_documents(write_text, tmp_path) -> None:
    write_text("set/a.txt", "One.")
    write_text("set/b.txt", "Two.")
    report = check_data(tmp_path / "set")
    assert (report.format, report.kind, report.num_rows, report.num_usable) == (
        "plain",
        "documents",
        2,
        2,
    )
    assert "⟦One.⟧" in render_check(report)


def test_errors_of_the_path_are_raised(write_text, tmp_path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        check_data(tmp_path / "none")
    with pytest.raises(UserError, match="is empty"):
        check_data(write_text("a.jsonl", "\n"))


def test_without_a_tokenizer_the_answers_are_marked(write_rows) -> None:
    text = render_check(check_data(write_rows("a.jsonl", [ROW])))
    assert "user: Who walks?\nassistant: ⟦A mule.⟧\nuser: And?\nassistant: ⟦No mule.⟧" in text


def test_with_a_tokenizer_the_loss_mask_is_shown(write_rows, tokenizer: Tokenizer) -> None:
    text = render_check(check_data(write_rows("a.jsonl", [ROW])), tokenizer)
    first = "<s>[INST] Who walks? [/INST]⟦ A mule. </s>⟧"
    second = "<s>[INST] And? [/INST]⟦ No mule. </s>⟧"
    assert f"{first}{second}" in text
    encoded = encode_dialog(tokenizer, DIALOG)
    assert f"tokens: {len(encoded.ids)}; in marks: {sum(encoded.loss_mask)}" in text


def test_segments_cover_every_token_once(tokenizer: Tokenizer) -> None:
    encoded = encode_dialog(tokenizer, DIALOG)
    segments = mark_example(DIALOG, tokenizer)
    assert [segment.is_learned for segment in segments] == [False, True, False, True]
    mask = [segment.is_learned for segment in segments for _ in range(segment.num_tokens)]
    assert mask == encoded.loss_mask


def test_a_folders_own_template_is_shown_with_its_tokens(tmp_path: Path) -> None:
    texts = [message.content for message in DIALOG.messages]
    tokenizer = load_tokenizer(llama3(tmp_path / "llama3", texts * 20))
    segments = mark_example(DIALOG, tokenizer)
    assert segments[1].text == "A mule.<|eot_id|>"
    assert segments[0].text.startswith("<|begin_of_text|><|start_header_id|>user<|end_header_id|>")
    mask = [segment.is_learned for segment in segments for _ in range(segment.num_tokens)]
    assert mask == encode_dialog(tokenizer, DIALOG).loss_mask


def test_only_the_compared_answers_of_a_pair_are_marked(tokenizer: Tokenizer) -> None:
    pair = Preference((*DIALOG.messages[:3],), "A mule.", "Salt.")
    for given in (None, tokenizer):
        marked = [segment.text for segment in mark_example(pair, given) if segment.is_learned]
        assert [text.replace("</s>", "").strip() for text in marked] == ["A mule.", "Salt."]


def test_nothing_of_a_prompt_is_marked(tokenizer: Tokenizer) -> None:
    prompt = Prompt("p", DIALOG.messages[:1])
    for given in (None, tokenizer):
        assert not any(segment.is_learned for segment in mark_example(prompt, given))


def test_long_examples_are_shortened_and_control_signs_replaced(write_rows) -> None:
    row = {"prompt": "a\x1b[2J", "completion": "b" * 1000}
    text = render_check(check_data(write_rows("a.jsonl", [row])))
    assert "[... 400 characters ...]" in text
    assert "\x1b" not in text
    assert "a\N{REPLACEMENT CHARACTER}[2J" in text
