"""The one place where a dialog becomes ids: the chat layout, its BOS and EOS, the loss mask.

Per exchange: BOS, encode("[INST] USER [/INST] ANSWER "), EOS. Loss only on answer tokens
(section 3.1) and on the EOS after them, or the model would never learn to stop. Prompts are built
as ids: nothing that stands in a message can become BOS or EOS, and `template` says what happens
to the tags.

Prompt and answer are encoded apart. That gives the same ids as the whole string at once, since no
piece of the vocabulary reaches over the end of a word: a space stands only at a piece's start.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from arriero.records import Dialog, Message
from arriero.records.dialog import check_turns
from arriero.tokenizer.template import CHAT_TEMPLATE, neutralize, render_answer, render_turns
from arriero.tokenizer.tokenizer import Tokenizer

__all__ = [
    "CHAT_TEMPLATE",
    "EncodedDialog",
    "encode_answer",
    "encode_dialog",
    "encode_dialogs",
    "encode_prompt",
    "neutralize",
]


@dataclass(frozen=True, slots=True)
class EncodedDialog:
    """Ids of a dialog and, of the same length, whether each is learned."""

    ids: list[int]
    loss_mask: list[bool]


def encode_prompt(tokenizer: Tokenizer, messages: Sequence[Message]) -> list[int]:
    """Ids from the first BOS to the last `[/INST]`; what a model is to continue.

    Raises:
        ValueError: the last message is not the user's, the roles do not alternate, or a user
            message is empty.
    """
    check_turns(tuple(messages))
    if messages[-1].role != "user":
        raise ValueError("a prompt ends with a user message")
    return _assemble(tokenizer, tokenizer.encode_batch(render_turns(messages)), False).ids


def encode_answer(tokenizer: Tokenizer, answer: str) -> list[int]:
    """Ids of an answer with its EOS; they follow encode_prompt's."""
    return [*tokenizer.encode(render_answer(answer)), tokenizer.eos_id]


def encode_dialog(
    tokenizer: Tokenizer, dialog: Dialog, *, last_answer_only: bool = False
) -> EncodedDialog:
    """Ids of all exchanges and the mask of the assistant's tokens, each answer with its EOS.

    A dialog that waits for an answer ends after `[/INST]`. With `last_answer_only` the mask
    covers the last of the answers alone.
    """
    return encode_dialogs(tokenizer, [dialog], last_answer_only=last_answer_only)[0]


def encode_dialogs(
    tokenizer: Tokenizer, dialogs: Sequence[Dialog], *, last_answer_only: bool = False
) -> list[EncodedDialog]:
    """encode_dialog of each, with all texts tokenized in one batch; a cut answer gets no EOS."""
    turns = [list(render_turns(dialog.messages)) for dialog in dialogs]
    for dialog, texts in zip(dialogs, turns, strict=True):
        if dialog.is_cut:
            texts[-1] = texts[-1].rstrip(" ")  # the layout's space before EOS
    encoded = iter(tokenizer.encode_batch([text for texts in turns for text in texts]))
    items = [
        _assemble(tokenizer, [next(encoded) for _ in texts], last_answer_only) for texts in turns
    ]
    return [
        EncodedDialog(item.ids[:-1], item.loss_mask[:-1]) if dialog.is_cut else item
        for dialog, item in zip(dialogs, items, strict=True)
    ]


def _assemble(
    tokenizer: Tokenizer, turns: Sequence[Sequence[int]], last_answer_only: bool
) -> EncodedDialog:
    """Join the encoded turns of one dialog, users' at even and answers at odd positions."""
    last_answer = len(turns) - 1 - len(turns) % 2
    ids: list[int] = []
    loss_mask: list[bool] = []
    for position, turn in enumerate(turns):
        is_answer = position % 2 == 1
        is_learned = is_answer and (position == last_answer or not last_answer_only)
        ids += [*turn, tokenizer.eos_id] if is_answer else [tokenizer.bos_id, *turn]
        loss_mask += [is_learned] * (len(turn) + 1)
    return EncodedDialog(ids, loss_mask)
