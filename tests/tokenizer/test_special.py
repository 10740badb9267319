"""Special ids from what folders say, by hand."""

from __future__ import annotations

from typing import Any

import pytest

from arriero.records import SpecialIds, UserError
from arriero.tokenizer.folder_files import FolderFiles
from arriero.tokenizer.special import find_special

VOCAB = {
    literal: token
    for token, literal in enumerate(
        ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|right_pad|>", "<|reserved_0|>"]
    )
}


def special(
    control: str = "", *, turn_end: str | None = None, size: int = 100, **facts: Any
) -> SpecialIds:
    known = {VOCAB[literal]: literal for literal in control.split()}
    files = FolderFiles("FOLDER", **facts)
    return find_special(files, VOCAB.get, known, size, turn_end)


def test_names_come_before_ids_and_all_ends_are_gathered() -> None:
    found = special(
        "<s> </s> <|im_start|> <|im_end|> <|right_pad|>",
        named={"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"},
        turn_end="<|im_end|>",
        bos=3,
        ends=(2, 5),
    )
    assert found == SpecialIds(bos=1, ends=(2, 4, 5), pad=0)


def test_ids_alone() -> None:
    assert special("<s> </s>", bos=1, ends=(2,), pad=7) == SpecialIds(1, (2,), 7)


@pytest.mark.parametrize(("config", "bos"), [({"bos_token": None}, None), ({}, 3)])
def test_a_tokenizer_said_to_have_no_bos_has_none(config: dict[str, Any], bos: int | None) -> None:
    found = special("</s> <|im_start|>", named={"eos_token": "</s>"}, config=config, bos=3)
    assert found.bos == bos


@pytest.mark.parametrize(
    ("named", "control", "pad_id", "expected"),
    [
        # Its own, be it named or numbered.
        ({"pad_token": "<unk>"}, "", None, 0),
        ({"unk_token": "<unk>"}, "<|right_pad|>", 9, 9),
        # Its own is an end: <unk>.
        ({"pad_token": "</s>", "unk_token": "<unk>"}, "<|right_pad|>", 2, 0),
        # -1 means none.
        ({"unk_token": "<unk>"}, "", -1, 0),
        # Neither: what is called so, what is reserved, BOS, any control token but an end.
        ({"pad_token": "</s>"}, "<s> </s> <|reserved_0|> <|right_pad|>", None, 5),
        ({"unk_token": "</s>"}, "<s> </s> <|reserved_0|>", None, 6),
        ({"bos_token": "<s>"}, "<s> </s> <|im_start|>", None, 1),
        ({"bos_token": "</s>"}, "</s> <|im_start|>", None, 3),
        ({}, "</s>", None, 0),
    ],
)
def test_padding_is_never_an_end(
    named: dict[str, str], control: str, pad_id: int | None, expected: int
) -> None:
    found = special(control, named={"eos_token": "</s>", **named}, pad=pad_id)
    assert found.pad == expected
    assert found.pad not in found.ends


def test_what_is_outside_the_vocabulary() -> None:
    with pytest.raises(UserError, match="FOLDER: special id 7 is outside the vocabulary of 7"):
        special("</s>", size=7, ends=(2, 7))
    with pytest.raises(UserError, match="eos_token '<end>' is not in the vocabulary"):
        special(named={"eos_token": "<end>"})
    with pytest.raises(UserError, match="nothing ends a text"):
        special(named={"bos_token": "<s>"})
