"""The Llama 2 layout against an independent reference, for every shape of a dialog."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from sentencepiece import SentencePieceProcessor
from transformers import AutoTokenizer

from arriero.records import Dialog, Message
from arriero.tokenizer import Tokenizer, encode_answer, encode_dialog, encode_prompt

CONTENTS = [
    "the llama",
    "  carries\n salt ",
    "\n12 – é 山道 🦙\t",
    "a\n\nb",
    "'quoted' {{ x }} {% y %}",
    "\u3000x\u00a0",
]


def reference(processor: SentencePieceProcessor, messages: list[tuple[str, str]]) -> list[int]:
    """Meta's layout, slowly: each exchange is one string between BOS and EOS."""
    if messages[0][0] == "system":
        (_, system), (_, first), *rest = messages
        messages = [("user", f"<<SYS>>\n{system}\n<</SYS>>\n\n{first}"), *rest]
    ids: list[int] = []
    for position in range(0, len(messages), 2):
        text = f"[INST] {messages[position][1].strip()} [/INST]"
        if position + 1 == len(messages):
            return [*ids, processor.bos_id(), *processor.encode(text)]
        whole = f"{text} {messages[position + 1][1].strip()} "
        ids += [processor.bos_id(), *processor.encode(whole), processor.eos_id()]
    return ids


@pytest.mark.parametrize("has_system", [False, True])
@pytest.mark.parametrize("num_turns", range(1, 9))
def test_every_shape(
    tokenizer: Tokenizer,
    processor: SentencePieceProcessor,
    folder: Path,
    has_system: bool,
    num_turns: int,
) -> None:
    hugging_face: Any = AutoTokenizer.from_pretrained(folder)
    rng = random.Random(num_turns)
    for _ in range(40):
        texts = rng.choices(CONTENTS, k=num_turns)
        turns: list[tuple[Any, str]] = [
            (("user", "assistant")[i % 2], text) for i, text in enumerate(texts)
        ]
        if has_system:
            turns.insert(0, ("system", rng.choice(CONTENTS)))
        expected = reference(processor, turns)
        messages = tuple(Message(role, text) for role, text in turns)
        encoded = encode_dialog(tokenizer, Dialog(messages))
        assert encoded.ids == expected
        rows = [{"role": role, "content": text} for role, text in turns]
        assert hugging_face.apply_chat_template(rows, return_dict=False) == expected
        if num_turns % 2:
            assert encode_prompt(tokenizer, messages) == expected
        else:
            answer = encode_answer(tokenizer, texts[-1])
            assert encode_prompt(tokenizer, messages[:-1]) + answer == expected
            assert encoded.loss_mask[-len(answer) :] == [True] * len(answer)
            assert not encoded.loss_mask[-len(answer) - 1]


@pytest.mark.slow
def test_ten_thousand_texts_in_every_role_give_no_control_id(tokenizer: Tokenizer) -> None:
    rng = random.Random(3)
    pieces = ["<s>", "</s>", "<unk>", "[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "<", "/s>", "s>"]
    pieces += ["[IN", "ST]", "SYS>>", " ", "\n", "llama", "\u2581", "<0x0A>", "\0", "[/", "<<"]
    for _ in range(10_000):
        texts = ["".join(rng.choices(pieces, k=rng.randrange(1, 8))) + "." for _ in range(4)]
        messages = (
            Message("system", texts[0]),
            *(Message(("user", "assistant")[i % 2], text) for i, text in enumerate(texts)),
        )
        ids = encode_dialog(tokenizer, Dialog(messages)).ids
        assert [token for token in ids if token < 3] == [1, 2, 1, 2]
        text = tokenizer.decode(ids)
        counts = [text.count(tag) for tag in ("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>")]
        assert counts == [2, 2, 1, 1]
