"""The ids that no text may produce: they travel from a tokenizer to models and samplers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SpecialIds:
    """Where a text begins, where an answer ends, what fills a row.

    Attributes:
        bos: begins a text; None where a vocabulary has no such token.
        ends: ids that end an answer, the tokenizer's EOS first.
        pad: fills rows; never one of `ends`, or a model would not learn to stop.
    """

    bos: int | None
    ends: tuple[int, ...]
    pad: int


LLAMA2_IDS = SpecialIds(bos=1, ends=(2,), pad=0)
"""`<s>`, `</s>`, and `<unk>` as padding."""
