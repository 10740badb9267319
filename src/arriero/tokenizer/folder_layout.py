"""The chat layout of a folder with a template of its own, and of every tokenizer.json.

A prompt is what the template writes for it; an answer is the stripped text between the lead and the
closing that the template writes around answers, and it is encoded in its context but apart from
the prompt. So the ids of a prompt and of its answer are those of the dialog, and they are those of
the whole string too wherever no token would reach over the place where the answer begins: all
templates that open an answer with a control token or a newline.

The mask covers an earlier answer where the prompt holds it as it was given when it was the last
one. Templates that write earlier answers in another way (without their thinking, say) or that
close no answer give ids that no model was asked to continue: they are part of the prompt, and not
learned.

Control ids come from the template alone. Literals of control tokens and of the template's tags are
broken inside messages before it runs. Then the control ids that came out are compared with those of
the same dialog in nothing but one letter. That shows what exact literals do not: one that a message
and the template make up together, or one that the tokenizer's normalizer brings about. Such a
dialog is encoded with every sign of it apart; if that does not help, it is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

from arriero.records import Dialog, Message, UserError
from arriero.tokenizer.control import Breaker
from arriero.tokenizer.layout import Stretch
from arriero.tokenizer.probe import Render, TemplateFacts
from arriero.tokenizer.tokenizer import mend_surrogates

Encode = Callable[[Sequence[str]], list[list[int]]]
"""Ids of many texts, with the literals of control tokens read as such."""

_MAX_KNOWN = 4096


class _Part(NamedTuple):
    """A text, and what stands before it: ids of that are dropped again."""

    context: str
    text: str
    is_answer: bool


class FolderLayout:
    """A chat template with the tokenizer it belongs to.

    Args:
        where: the folder, for errors.
        render: the template.
        facts: what it writes around answers.
        breaker: breaks control literals and the template's tags.
        encode: reads control literals as control ids.
        guarded: the control ids that no message may give.
        end: literal that ends an answer where the template writes none.
    """

    def __init__(
        self,
        where: str,
        render: Render,
        facts: TemplateFacts,
        breaker: Breaker,
        encode: Encode,
        guarded: frozenset[int],
        end: str,
    ) -> None:
        self._where, self._render, self._facts = where, render, facts
        self._breaker, self._encode, self._guarded = breaker, encode, guarded
        self._closing = facts.closing or end
        self._context_ids: dict[str, list[int]] = {"": []}
        self._known: dict[tuple[object, ...], list[int]] = {}

    def stretches(self, dialogs: Sequence[Dialog]) -> list[list[Stretch]]:
        """Each dialog in stretches; all texts are encoded at once."""
        plans = self._plans([self._clean(dialog, self._breaker) for dialog in dialogs])
        encoded = iter(self._encode_parts([part for plan in plans for part in plan]))
        found = [[Stretch(next(encoded), part.is_answer) for part in plan] for plan in plans]
        return [
            stretches if self._is_sound(dialog, stretches) else self._again(dialog, stretches)
            for dialog, stretches in zip(dialogs, found, strict=True)
        ]

    def answer(self, text: str) -> list[int]:
        """An answer and the end token that the template writes after it."""
        expected = self._answer_controls
        for change in (self._breaker, self._breaker.shatter):
            ids = self._encode_parts([self._answer_part(change(mend_surrogates(text)).strip())])[0]
            if self._controls([ids]) == expected:
                return ids
        raise self._unsafe()

    # Laying out.

    def _clean(self, dialog: Dialog, change: Callable[[str], str]) -> Dialog:
        messages = tuple(
            Message(each.role, _stripped(change(mend_surrogates(each.content)), each.role))
            for each in dialog.messages
        )
        return replace(dialog, messages=messages)

    def _plans(self, dialogs: Sequence[Dialog]) -> list[list[_Part]]:
        """The texts of dialogs whose messages are clean, with all prompts rendered at once."""
        prompts = [_prompts_of(dialog) for dialog in dialogs]
        flat = [prompt for several in prompts for prompt in several]
        texts = (text + self._facts.header for text in self._render(flat, True))
        return [
            self._plan(dialog, [next(texts) for _ in several])
            for dialog, several in zip(dialogs, prompts, strict=True)
        ]

    def _plan(self, dialog: Dialog, texts: Sequence[str]) -> list[_Part]:
        """The parts of a dialog, given the texts of its prompts, the longest last."""
        text = texts[-1]
        parts: list[_Part] = []
        at, context = 0, ""
        for begin, end in self._answers_within(dialog, texts):
            parts.append(_Part(context, text[at:begin], False))
            parts.append(_Part(self._facts.context, text[begin:end], True))
            at, context = end, self._facts.end or ""
        parts.append(_Part(context, text[at:], False))
        if dialog.is_answered:
            parts.append(self._answer_part(dialog.answer, dialog.is_cut))
        return parts

    def _answers_within(self, dialog: Dialog, texts: Sequence[str]) -> list[tuple[int, int]]:
        """Where the last prompt holds earlier answers just as they follow their own prompts."""
        found: list[tuple[int, int]] = []
        if self._facts.end is None:
            return found
        answers = [each.content for each in dialog.prompt if each.role == "assistant"]
        for before, answer in zip(texts[:-1], answers, strict=True):
            whole = f"{self._facts.lead}{answer}{self._facts.closing}"
            if texts[-1].startswith(before + whole):
                found.append((len(before), len(before) + len(whole)))
        return found

    def _answer_part(self, answer: str, is_cut: bool = False) -> _Part:
        closing = "" if is_cut else self._closing
        return _Part(self._facts.context, f"{self._facts.lead}{answer}{closing}", True)

    # Encoding.

    def _encode_parts(self, parts: Sequence[_Part]) -> list[list[int]]:
        encoded = self._encode([part.context + part.text for part in parts])
        return [self._without_context(*pair) for pair in zip(parts, encoded, strict=True)]

    def _without_context(self, part: _Part, ids: list[int]) -> list[int]:
        for context in (part.context, "\n", self._closing):
            known = self._context_ids.get(context)
            if known is None:
                known = self._context_ids[context] = self._encode([context])[0]
            if context != part.context:
                ids = self._encode([context + part.text])[0]
            if ids[: len(known)] == known:
                return ids[len(known) :]
        return self._encode([part.text])[0]

    # Guarding.

    @cached_property
    def _answer_controls(self) -> list[int]:
        """The control ids of an answer: its end."""
        return self._controls(self._encode_parts([self._answer_part(self._breaker.letter)]))

    def _controls(self, encoded: Sequence[Sequence[int]]) -> list[int]:
        guarded = self._guarded
        return [token for ids in encoded for token in ids if token in guarded]

    def _is_sound(self, dialog: Dialog, stretches: Sequence[Stretch]) -> bool:
        """Whether control ids are those that dialogs of this shape have."""
        shape = (dialog.is_cut, *((m.role, not m.content.strip()) for m in dialog.messages))
        expected = self._known.get(shape)
        if expected is None:
            expected = self._controls_without(dialog, r"\s*\S[\s\S]*")
            if len(self._known) < _MAX_KNOWN:
                self._known[shape] = expected
        return self._controls([stretch.ids for stretch in stretches]) == expected

    def _controls_without(self, dialog: Dialog, pattern: str) -> list[int]:
        """The control ids of the dialog, one letter for whatever matches `pattern` in messages."""
        letter = self._breaker.letter
        plain = self._clean(dialog, lambda text: re.sub(pattern, letter, text))
        return self._controls(self._encode_parts(self._plans([plain])[0]))

    def _again(self, dialog: Dialog, stretches: list[Stretch]) -> list[Stretch]:
        """A dialog of unexpected control ids: right after all, or encoded with its signs apart."""
        expected = self._controls_without(dialog, r"\S")  # some templates go by a message's length
        if self._controls([stretch.ids for stretch in stretches]) == expected:
            return stretches
        plan = self._plans([self._clean(dialog, self._breaker.shatter)])[0]
        encoded = self._encode_parts(plan)
        if self._controls(encoded) != expected:
            raise self._unsafe()
        return [Stretch(ids, part.is_answer) for ids, part in zip(encoded, plan, strict=True)]

    def _unsafe(self) -> UserError:
        return UserError(
            f"{self._where}: a message gives control tokens in this chat template; it is refused"
        )


def _prompts_of(dialog: Dialog) -> list[tuple[Message, ...]]:
    """What stands before each earlier answer, and the whole prompt."""
    messages = dialog.prompt
    earlier = [i for i, each in enumerate(messages) if each.role == "assistant"]
    return [*(messages[:i] for i in earlier), messages]


def _stripped(text: str, role: str) -> str:
    return text.strip() if role == "assistant" else text
