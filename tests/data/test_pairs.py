"""Pairs that share what they begin with: by hand, and against each side alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from arriero.data.pairs import pack_pairs, packed_length, shared_length
from arriero.model import fused
from arriero.model.config import ModelConfig
from arriero.model.heads import LanguageModel, ScoreModel

CONFIG = ModelConfig(
    vocab_size=50, dim=16, num_layers=3, num_heads=4, num_kv_heads=2, ffn_dim=24, context=200
)


def test_a_pair_by_hand() -> None:
    packed = pack_pairs([([1, 2, 3, 4], [1, 2, 5])])
    assert packed.tokens[0, :5].tolist() == [1, 2, 3, 4, 5]
    assert packed.positions[0, :5].tolist() == [0, 1, 2, 3, 2]
    assert packed.segments[0, :6].tolist() == [0, 0, 0, 0, 0, -1]
    assert packed.skips[0, :5].tolist() == [[0, 0]] * 4 + [[2, 4]]
    assert packed.last.tolist() == [[3], [4]]


@pytest.mark.parametrize(
    ("first", "second", "shared", "length"),
    [
        ([1, 2, 3], [1, 2, 4], 2, 4),
        ([1, 2], [3, 4], 0, 4),
        ([1, 2, 3], [1, 2], 1, 4),
        ([7], [7], 0, 2),
        ([1, 2], [1, 2], 1, 3),
    ],
)
def test_what_is_shared(first: list[int], second: list[int], shared: int, length: int) -> None:
    assert shared_length(first, second) == shared
    assert packed_length(first, second) == length


def drawn_pairs(count: int, seed: int) -> list[tuple[list[int], list[int]]]:
    """Prompts and answers of all lengths, some without a prompt."""
    random = np.random.default_rng(seed)
    pairs: list[tuple[list[int], list[int]]] = []
    for _ in range(count):
        prompt, first, second = (
            random.integers(1, 50, size=random.integers(low, 60)).tolist() for low in (0, 1, 1)
        )
        pairs.append((prompt + first, prompt + second))
    return pairs


def test_rows_hold_every_token_once_and_little_padding() -> None:
    pairs = drawn_pairs(64, seed=1)
    packed = pack_pairs(pairs)
    tokens = sum(packed_length(*pair) for pair in pairs)
    assert int((packed.segments >= 0).sum()) == tokens
    assert tokens / packed.tokens.numel() > 0.95
    assert packed.tokens.flatten()[packed.last].tolist() == [
        [pair[side][-1] for pair in pairs] for side in (0, 1)
    ]


@pytest.mark.parametrize("is_fused", [True, False])
def test_each_side_gets_what_it_gets_alone(is_fused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores and slopes, by the kernels and in PyTorch's words."""
    if not is_fused:
        monkeypatch.setattr(fused, "is_fused", lambda *tensors, **options: False)
    model = ScoreModel.from_language_model(LanguageModel.fresh(CONFIG, 0), 0)
    with torch.no_grad():
        model.score.weight.mul_(20)
    pairs = drawn_pairs(13, seed=2)
    packed = pack_pairs(pairs)
    scores = model(
        packed.tokens, positions=packed.positions, segments=packed.segments, skips=packed.skips
    ).flatten()[packed.last]
    alone = torch.stack(
        [torch.stack([model(torch.tensor([pair[s]]))[0, -1] for pair in pairs]) for s in (0, 1)]
    )
    torch.testing.assert_close(scores, alone, atol=1e-5, rtol=1e-5)
    weights = torch.linspace(-1, 1, 26).view(2, 13)
    parameters = list(model.parameters())
    torch.testing.assert_close(
        torch.autograd.grad((scores * weights).sum(), parameters),
        torch.autograd.grad((alone * weights).sum(), parameters),
        atol=2e-5,
        rtol=1e-4,
    )


def test_the_other_answer_is_not_seen() -> None:
    """To the bit, whatever the first answer says."""
    model = ScoreModel.from_language_model(LanguageModel.fresh(CONFIG, 0), 0).eval()
    scores: list[torch.Tensor] = []
    for first in ([9, 9, 9], [4, 30, 12]):
        packed = pack_pairs([([1, 2, 3, *first], [1, 2, 3, 20, 21])])
        with torch.no_grad():
            all_of_it = model(
                packed.tokens,
                positions=packed.positions,
                segments=packed.segments,
                skips=packed.skips,
            )
        scores.append(all_of_it.flatten()[packed.last[1]])
    assert torch.equal(scores[0], scores[1])
