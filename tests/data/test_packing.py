"""Packed sequences stay apart: same loss and same scores as one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from arriero.data.packing import assign_rows, pack
from arriero.model.config import ModelConfig
from arriero.model.heads import LanguageModel
from arriero.stages.token_loss import packed_loss_sum

CONFIG = ModelConfig(
    vocab_size=50, dim=16, num_layers=2, num_heads=2, num_kv_heads=2, ffn_dim=24, context=64
)
CPU = torch.device("cpu")


@given(st.lists(st.integers(1, 20), min_size=1, max_size=60))
def test_every_sequence_has_one_row_and_no_row_overflows(lengths: list[int]) -> None:
    rows = assign_rows(lengths, 20)
    assert sorted(index for row in rows for index in row) == list(range(len(lengths)))
    assert all(sum(lengths[index] for index in row) <= 20 for row in rows)


def test_best_fit_by_hand() -> None:
    # 7 and 3 fill a row of 10, 6 and 4 the next, 5 stands alone.
    assert assign_rows([7, 6, 5, 4, 3], 10) == [[0, 4], [1, 3], [2]]


def test_a_sequence_longer_than_a_row_is_refused() -> None:
    with pytest.raises(ValueError, match="sequence 1 has 6 tokens"):
        assign_rows([3, 6], 5)


def test_layout_by_hand() -> None:
    batch = pack([[5, 6, 7], [8, 9]], [[False, True, True], [False, False]], row_length=6)
    assert batch.tokens.tolist() == [[5, 6, 7, 8, 9, 0]]
    assert batch.segments.tolist() == [[0, 0, 0, 1, 1, -1]]
    assert batch.positions.tolist() == [[0, 1, 2, 0, 1, 0]]
    assert batch.targets.tolist() == [[6, 7, 0, 9, 0, 0]]
    assert batch.loss_mask.tolist() == [[True, True, False, False, False, False]]
    assert batch.last.tolist() == [2, 4]
    assert batch.num_targets == 2


def test_packed_loss_equals_the_losses_one_by_one() -> None:
    model = LanguageModel.fresh(CONFIG, seed=0)
    random = np.random.default_rng(0)
    sequences = [random.integers(3, 50, size=n).tolist() for n in (4, 11, 2, 19, 8, 5)]
    packed = pack(sequences, row_length=24)
    assert len(packed.tokens) < len(sequences)
    together = packed_loss_sum(model, packed, CPU)
    alone = sum(packed_loss_sum(model, pack([sequence]), CPU) for sequence in sequences)
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-5)


def test_no_token_sees_another_document() -> None:
    model = LanguageModel.fresh(CONFIG, seed=0).eval()
    first = pack([[5, 6, 7], [8, 9, 10]], row_length=6)
    second = pack([[11, 12, 13], [8, 9, 10]], row_length=6)
    with torch.no_grad():
        a, b = (
            model(batch.tokens, positions=batch.positions, segments=batch.segments)
            for batch in (first, second)
        )
    torch.testing.assert_close(a[0, 3:], b[0, 3:], atol=1e-6, rtol=1e-5)
    assert not torch.allclose(a[0, :3], b[0, :3])
