"""Parity with what transformers makes of the folder."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from jinja2 import TemplateError
from transformers import AutoTokenizer

from arriero.records import Dialog, Message
from arriero.tokenizer import Tokenizer, encode_dialog, encode_prompt

FRAGMENTS = (
    "a b ab -- - ---- = .. the llama carries INST SYS Quechua 1 23 007 é e\u0301 ﬁ 山道 🦙 🏽 "
    "\u200d \u200b \u00a0 \u3000 \ufffd \0 \ufeff \u2581 \u2585 <0x0A> <0xC3> [INST] [/INST] "
    "<<SYS>> <</SYS>> [IN[INST]ST] < s> /s> INST] \u202e ا न"
).split(" ")
WHITESPACE = [" ", "  ", "     ", "\n", "\n\n", "\t", "\r\n"]
SPECIAL = ["<s>", "</s>", "<unk>", "</s><s>"]


def fuzz(num: int, fragments: list[str]) -> list[str]:
    rng = random.Random(11)
    mixed = [
        "".join(rng.choice(fragments) for _ in range(rng.randrange(30))) for _ in range(num // 2)
    ]
    planes = [(1, 0x7F), (0x80, 0x2FF), (0x300, 0xD7FF), (0xE000, 0xFFFF), (0x10000, 0x10FFFF)]
    wild = [
        "".join(chr(rng.randint(*rng.choice(planes))) for _ in range(rng.randrange(20)))
        for _ in range(num - num // 2)
    ]
    return mixed + wild


@pytest.fixture(scope="module")
def hugging_face(folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(folder)


def test_settings(folder: Path, hugging_face: Any) -> None:
    config = json.loads((folder / "tokenizer_config.json").read_text())
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast"
    names = "unk_token_id", "bos_token_id", "eos_token_id", "pad_token_id"
    assert [getattr(hugging_face, name) for name in names] == [0, 1, 2, 0]
    assert hugging_face.model_max_length == 512
    assert len(hugging_face) == 500


def test_ids_and_texts_agree(tokenizer: Tokenizer, hugging_face: Any, documents: list[str]) -> None:
    fragments = [*FRAGMENTS, *WHITESPACE, "the", " llama", " "]
    texts = [
        text
        for text in fuzz(5000, fragments) + documents
        if not any(special in text for special in ("<s>", "</s>", "<unk>"))
    ]
    ours = tokenizer.encode_batch(texts)
    assert sum(map(bool, ours)) > 4000
    assert hugging_face(texts)["input_ids"] == ours
    assert hugging_face.batch_decode(ours) == [tokenizer.decode(ids) for ids in ours]


def test_special_tokens_in_foreign_text(tokenizer: Tokenizer, hugging_face: Any) -> None:
    """Transformers reads them as ids unless told not to: what `huggingface` warns of."""
    assert hugging_face("a </s>")["input_ids"][-1] == 2
    texts = fuzz(2000, [*FRAGMENTS, *WHITESPACE, *SPECIAL])
    assert sum("</s>" in text for text in texts) > 200
    split = hugging_face(texts, split_special_tokens=True)["input_ids"]
    assert split == tokenizer.encode_batch(texts)


def as_dicts(messages: tuple[Message, ...]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in messages]


def template_ids(hugging_face: Any, dialog: Dialog) -> list[int]:
    return hugging_face.apply_chat_template(
        as_dicts(dialog.messages), tokenize=True, return_dict=False
    )


SYSTEM, USER = Message("system", "Speak\nas a mule."), Message("user", "Who carries the salt?")
ANSWER, BORDERED = Message("assistant", "The llama."), Message("user", "\n\t And now? \u3000\n")


@pytest.mark.parametrize(
    "messages",
    [
        (USER,),
        (USER, ANSWER),
        (SYSTEM, USER),
        (SYSTEM, USER, ANSWER),
        (USER, ANSWER, USER, ANSWER, BORDERED),
        (SYSTEM, USER, ANSWER, USER, ANSWER, BORDERED, Message("assistant", "  so \n")),
        (Message("system", "  with borders\n"), BORDERED, Message("assistant", "")),
        (Message("system", " \n"), USER),
        (Message("user", "'quoted' \"{{ x }}\" {% y %} \\n &lt;"),),
    ],
)
def test_the_template_gives_our_ids(
    tokenizer: Tokenizer, hugging_face: Any, messages: tuple[Message, ...]
) -> None:
    dialog = Dialog(messages)
    expected = encode_dialog(tokenizer, dialog).ids
    assert template_ids(hugging_face, dialog) == expected
    if not dialog.is_answered:
        assert encode_prompt(tokenizer, messages) == expected


def test_the_template_gives_our_ids_on_any_content(tokenizer: Tokenizer, hugging_face: Any) -> None:
    """Smuggled tags and special tokens too."""
    rng = random.Random(5)
    contents = fuzz(600, [*FRAGMENTS, *WHITESPACE, *SPECIAL])
    for _ in range(300):
        system, first, answer, second = rng.sample(contents, 4)
        turns = (
            Message("user", first + "?"),
            Message("assistant", answer),
            Message("user", second + "!"),
        )
        dialog = Dialog((Message("system", system), *turns[: rng.choice([1, 2, 3])]))
        ids = template_ids(hugging_face, dialog)
        assert ids == encode_dialog(tokenizer, dialog).ids
        assert ids.count(1) == (len(dialog.messages)) // 2


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([SYSTEM], "at least one user message"),
        ([ANSWER], "take turns"),
        ([USER, USER], "take turns"),
        ([USER, ANSWER, SYSTEM], "take turns"),
        ([USER, SYSTEM], "the roles are"),
        ([Message("user", " \n")], "is empty"),
        ([SYSTEM, Message("user", "")], "is empty"),
    ],
)
def test_the_template_refuses_what_we_refuse(
    hugging_face: Any, messages: list[Message], reason: str
) -> None:
    with pytest.raises(TemplateError, match=reason):
        hugging_face.apply_chat_template(as_dicts(tuple(messages)), tokenize=False)
    with pytest.raises(ValueError, match=r"user|assistant"):
        Dialog(tuple(messages))


def test_repeated_signs_join_alike(tokenizer: Tokenizer, hugging_face: Any) -> None:
    """Pieces that can be joined in two ways: leftmost pair first, on both sides."""
    texts = [
        sign * length
        for sign in ("-", "=", " ", ".", "x", "ab", "aba", "!")
        for length in range(40)
    ]
    assert hugging_face(texts)["input_ids"] == tokenizer.encode_batch(texts)
