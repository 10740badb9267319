r"""Dialogs written as one text, `\n\nHuman: ...\n\nAssistant: ...`, as in hh-rlhf (section 3.2.1).

Such texts were cut out of logs: some turns end with a tag that nobody followed up ("\n\nHuman"),
which is dropped here so that no model learns to say it.
"""

from __future__ import annotations

import re

from arriero.records import Message

_TAG = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant):")
_STRAY_TAG = re.compile(r"(\n\n(Human|Assistant)\s*)+\Z")


def is_transcript(text: str) -> bool:
    r"""Whether a text opens with `Human:` or `Assistant:` and has another turn.

    >>> is_transcript("\n\nHuman: Hi\n\nAssistant: Hello")
    True
    """
    return len(_TAG.findall(text)) > 1 and _TAG.match(text) is not None


def split_turns(text: str) -> list[Message]:
    """The turns of a transcript in order, stripped; the order of roles is not checked."""
    _, *parts = _TAG.split(text)
    return [
        Message("user" if tag == "Human" else "assistant", _STRAY_TAG.sub("", content).strip())
        for tag, content in zip(parts[::2], parts[1::2], strict=True)
    ]
