"""Batches by tokens: every sequence once, bounded, and padding that changes nothing."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from arriero.inference import batches as module
from arriero.inference.batches import batches, padded

CPU = torch.device("cpu")


@given(st.lists(st.integers(1, 60), max_size=40))
def test_every_sequence_once_and_no_batch_too_large(lengths: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_TOKENS_AT_ONCE", {"cpu": 50})
        parts = list(batches(lengths, CPU))
    assert [n for part in parts for n in lengths[part]] == lengths
    for part in parts:
        rows = lengths[part]
        assert rows
        assert len(rows) == 1 or len(rows) * max(rows) <= 50


def test_a_batch_is_as_large_as_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TOKENS_AT_ONCE", {"cpu": 12})
    assert list(batches([2, 3, 4, 4, 20, 1], CPU)) == [
        slice(0, 3),
        slice(3, 4),
        slice(4, 5),
        slice(5, 6),
    ]
    assert list(batches([3, 4, 4], CPU)) == [slice(0, 3)]


def test_padded() -> None:
    tokens, lengths = padded([[5], [6, 7, 8], [9, 4]])
    assert tokens.tolist() == [[5, 0, 0], [6, 7, 8], [9, 4, 0]]
    assert lengths.tolist() == [1, 3, 2]
