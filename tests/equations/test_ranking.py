from __future__ import annotations

import math

import pytest
import torch

from arriero.equations.ranking import MARGINS, pair_accuracy, ranking_loss, safety_loss
from arriero.records import Rating


def test_margins_of_the_appendix() -> None:
    small, large = MARGINS["small"], MARGINS["large"]
    assert [small[rating] for rating in Rating] == [1, 2 / 3, 1 / 3, 0]
    assert [large[rating] for rating in Rating] == [3, 2, 1, 0]
    assert large[Rating.SIGNIFICANTLY_BETTER] == 3
    assert large[Rating.NEGLIGIBLY_BETTER] == 0
    assert set(MARGINS["none"].values()) == {0}
    assert all(table[None] == 0 for table in MARGINS.values())
    assert set(MARGINS) == {"none", "small", "large"}


def test_ranking_loss_by_hand() -> None:
    loss = ranking_loss(
        torch.tensor([2.0, 2.0, 0.0]), torch.tensor([1.0, 1.0, 0.0]), torch.tensor([1.0, 0.0, 0.0])
    )
    assert loss.tolist() == pytest.approx([math.log(2), math.log1p(math.exp(-1)), math.log(2)])


def test_ranking_loss_against_a_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    chosen, rejected = torch.randn(2, 20, generator=generator) * 3
    margin = torch.tensor([MARGINS["large"][list(Rating)[i % 4]] for i in range(20)])
    loss = ranking_loss(chosen, rejected, margin)
    for i in range(20):
        gap = chosen[i].item() - rejected[i].item() - margin[i].item()
        assert loss[i].item() == pytest.approx(-math.log(1 / (1 + math.exp(-gap))), rel=1e-4)


def test_ranking_loss_properties() -> None:
    gaps = torch.linspace(-5, 5, 21)
    zeros = torch.zeros(21)
    loss = ranking_loss(gaps, zeros, zeros)
    assert (loss[:-1] > loss[1:]).all()  # a wider gap costs less
    assert (ranking_loss(gaps, zeros, zeros + 1) > loss).all()  # a margin costs more
    torch.testing.assert_close(ranking_loss(gaps + 7, zeros + 7, zeros), loss)  # shift does nothing
    # -ln sigmoid(x) - (-ln sigmoid(-x)) = -x
    torch.testing.assert_close(loss - loss.flip(0), -gaps)


def test_ranking_loss_is_stable_at_the_ends() -> None:
    chosen = torch.tensor([1e4, -1e4], requires_grad=True)
    loss = ranking_loss(chosen, torch.zeros(2), torch.zeros(2))
    assert loss.tolist() == [0, 1e4]
    loss.sum().backward()
    assert chosen.grad is not None
    assert chosen.grad.tolist() == [0, -1]


def test_half_precision_scores_are_widened() -> None:
    loss = ranking_loss(torch.ones(2).bfloat16(), torch.zeros(2).bfloat16(), torch.zeros(2))
    assert loss.dtype == torch.float32
    assert loss[0].item() == pytest.approx(math.log1p(math.exp(-1)), rel=1e-6)


def test_safety_loss_by_hand() -> None:
    score = torch.tensor([0.0, 2.0, 2.0, math.nan])
    is_safe = torch.tensor([True, True, False, False])
    known = torch.tensor([True, True, True, False])
    expected = [math.log(2), math.log1p(math.exp(-2)), math.log1p(math.exp(2)), 0]
    assert safety_loss(score, is_safe, known).tolist() == pytest.approx(expected)
    assert safety_loss(score, is_safe.float(), known).tolist() == pytest.approx(expected)


def test_safety_loss_against_a_loop() -> None:
    generator = torch.Generator().manual_seed(1)
    score = torch.randn(30, generator=generator) * 3
    is_safe, known = torch.rand(2, 30, generator=generator) < 0.5
    loss = safety_loss(score, is_safe, known)
    for i in range(30):
        probability = 1 / (1 + math.exp(-score[i].item()))
        expected = -math.log(probability if is_safe[i] else 1 - probability) if known[i] else 0
        assert loss[i].item() == pytest.approx(expected, rel=1e-4)


def test_safety_loss_gradient_ignores_unknown_labels() -> None:
    score = torch.tensor([0.0, math.nan, math.inf], requires_grad=True)
    label = torch.tensor([1.0, math.nan, 0.0])
    safety_loss(score, label, torch.tensor([True, False, False])).sum().backward()
    assert score.grad is not None
    assert score.grad.tolist() == [-0.5, 0, 0]


def test_safety_loss_is_that_of_a_pair_with_a_score_of_zero() -> None:
    score = torch.linspace(-30, 30, 13)
    zeros, yes = torch.zeros(13), torch.ones(13, dtype=torch.bool)
    torch.testing.assert_close(safety_loss(score, yes, yes), ranking_loss(score, zeros, zeros))
    torch.testing.assert_close(safety_loss(score, ~yes, yes), ranking_loss(zeros, score, zeros))


def test_pair_accuracy() -> None:
    chosen = torch.tensor([1.0, 0.0, 2.0, 5.0])
    rejected = torch.tensor([0.0, 1.0, 2.0, -5.0])
    assert pair_accuracy(chosen, rejected).item() == 2.5 / 4
    swapped = pair_accuracy(rejected, chosen)
    assert pair_accuracy(chosen, rejected) + swapped == 1
    assert pair_accuracy(torch.zeros(9), torch.zeros(9)) == 0.5
    assert pair_accuracy(torch.zeros(0), torch.zeros(0)) == 0
