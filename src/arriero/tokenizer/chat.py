"""The one place where a dialog becomes ids and a loss mask, whatever the layout.

Loss only on answer tokens (section 3.1) and on the end token after them, or the model would never
learn to stop. What a layout writes around them is its own affair: `llama2` for the released chat
models and for models trained here, `folder_layout` for folders with a chat template of their own.
In every layout the ids of a prompt and of its answer are together the ids of the dialog; what a
template writes after the last end (ChatML: a newline) belongs to no dialog, since no model is
sampled that far.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from arriero.records import Dialog, Message
from arriero.tokenizer.layout import Stretch
from arriero.tokenizer.template import CHAT_TEMPLATE, neutralize
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
    """Ids up to where the answer begins (`[/INST]` in Llama 2); what a model is to continue.

    Raises:
        ValueError: the last message is not the user's, the roles do not alternate, or a user
            message is empty.
        UserError: the folder's chat template has no place for such a dialog.
    """
    dialog = Dialog(tuple(messages))
    if dialog.is_answered:
        raise ValueError("a prompt ends with a user message")
    return encode_dialog(tokenizer, dialog).ids


def encode_answer(tokenizer: Tokenizer, answer: str) -> list[int]:
    """Ids of an answer with the token that ends it; they follow encode_prompt's."""
    return tokenizer.layout.answer(answer)


def encode_dialog(
    tokenizer: Tokenizer, dialog: Dialog, *, last_answer_only: bool = False
) -> EncodedDialog:
    """Ids of all exchanges and the mask of the assistant's tokens, each answer with its end.

    A dialog that waits for an answer ends where that begins. With `last_answer_only` the mask
    covers the last of the answers alone.
    """
    return encode_dialogs(tokenizer, [dialog], last_answer_only=last_answer_only)[0]


def encode_dialogs(
    tokenizer: Tokenizer, dialogs: Sequence[Dialog], *, last_answer_only: bool = False
) -> list[EncodedDialog]:
    """encode_dialog of each, with all texts tokenized in one batch; a cut answer gets no end.

    A dialog that is itself `last_answer_only` is masked so, whatever is asked for.
    """
    return [
        _join(stretches, last_answer_only or dialog.last_answer_only)
        for dialog, stretches in zip(dialogs, tokenizer.layout.stretches(dialogs), strict=True)
    ]


def _join(stretches: Sequence[Stretch], last_answer_only: bool) -> EncodedDialog:
    last = max((i for i, stretch in enumerate(stretches) if stretch.is_answer), default=-1)
    ids: list[int] = []
    loss_mask: list[bool] = []
    for position, stretch in enumerate(stretches):
        is_learned = stretch.is_answer and (position == last or not last_answer_only)
        ids += stretch.ids
        loss_mask += [is_learned] * len(stretch.ids)
    return EncodedDialog(ids, loss_mask)
