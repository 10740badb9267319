"""Loss by position against a slow loop, one prediction at a time."""

from __future__ import annotations

import math

import pytest
import torch

from arriero.evaluation.positions import bucket_means, padded, token_losses
from arriero.model.config import ModelConfig
from arriero.model.heads import LanguageModel

CONFIG = ModelConfig(
    vocab_size=50, dim=16, num_layers=2, num_heads=4, num_kv_heads=2, ffn_dim=24, context=64
)


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return LanguageModel.fresh(CONFIG, seed=3)


def documents(count: int, length: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 50, (count, length), generator=generator)


def one_by_one(model: LanguageModel, ids: list[int], window: int, stride: int) -> list[float]:
    """Each loss alone; what the window has slid to by the time of a prediction, by counting."""
    losses: list[float] = []
    for target in range(1, len(ids)):
        if target <= window:
            begin = 0
        else:
            slides = math.ceil((target - window) / stride)
            end = min(window + slides * stride, len(ids) - 1)
            begin = end - window
        with torch.no_grad():
            logits = model(torch.tensor([ids[begin:target]]))[0, -1].double()
        losses.append(float(logits.logsumexp(0) - logits[ids[target]]))
    return losses


@pytest.mark.parametrize(
    ("length", "window", "stride"),
    [(33, 32, 8), (33, 16, 4), (30, 16, 4), (33, 16, 16), (9, 16, 4)],
)
def test_the_same_as_one_prediction_at_a_time(
    model: LanguageModel, length: int, window: int, stride: int
) -> None:
    ids = documents(18, length)  # more than go through the model at once
    losses = token_losses(model, ids, window, stride)
    assert losses.shape == (18, length - 1)
    for row in (0, 17):
        expected = one_by_one(model, ids[row].tolist(), window, stride)
        assert losses[row].tolist() == pytest.approx(expected, abs=1e-4)


def test_a_shorter_window_reads_the_same_up_to_its_length(model: LanguageModel) -> None:
    ids = documents(3, 33)
    whole, half = (token_losses(model, ids, window, window // 4) for window in (32, 16))
    assert torch.allclose(whole[:, :16], half[:, :16], atol=1e-5)
    assert not torch.allclose(whole[:, 16:], half[:, 16:], atol=1e-3)


@pytest.mark.parametrize("stride", [0, 17])
def test_a_stride_has_to_lie_within_the_window(model: LanguageModel, stride: int) -> None:
    with pytest.raises(ValueError, match=f"stride of {stride} in a window of 16"):
        token_losses(model, documents(1, 20), 16, stride)


def test_buckets_by_hand() -> None:
    losses = torch.tensor([[1.0, 3.0, 5.0, 7.0], [1.0, 1.0, 0.0, 0.0]])
    assert bucket_means(losses, 2) == [1.5, 3.0]
    assert bucket_means(losses, 4) == [1.0, 2.0, 2.5, 3.5]


def test_padding_counts_for_nothing(model: LanguageModel) -> None:
    ragged = [[1, 4, 7, 9], [2, 5], [1, 2, 3, 4, 5, 6]]
    ids, counted = padded(ragged)
    assert ids.tolist() == [[1, 4, 7, 9, 0, 0], [2, 5, 0, 0, 0, 0], [1, 2, 3, 4, 5, 6]]
    assert counted.sum(1).tolist() == [3, 1, 5]
    losses = token_losses(model, ids, 16, 16)
    for row, sequence in enumerate(ragged):
        alone = token_losses(model, torch.tensor([sequence]), 16, 16)[0]
        assert torch.allclose(losses[row][counted[row]], alone, atol=1e-5)
