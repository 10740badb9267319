from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from arriero.equations.ppo import clip_share, explained_variance, policy_loss, value_loss


def random_batch(seed: int, num: int) -> list[Tensor]:
    """`num` random tensors [4, 6] and a mask [4, 6]."""
    generator = torch.Generator().manual_seed(seed)
    tensors = list(torch.randn(num, 4, 6, generator=generator))
    return [*tensors, torch.rand(4, 6, generator=generator) < 0.7]


def hide(values: Tensor, mask: Tensor) -> Tensor:
    """NaN and infinity outside the mask."""
    garbage = torch.tensor([math.nan, math.inf, -math.inf]).repeat(2)
    return torch.where(mask, values, garbage.expand_as(values))


def test_policy_loss_by_hand() -> None:
    logprobs = torch.tensor([[1.5, 1.5, 0.5, 0.5, 1.0, math.nan]]).log()
    advantages = torch.tensor([[1.0, -1.0, 1.0, -1.0, 2.0, math.nan]])
    mask = torch.tensor([[True] * 5 + [False]])
    loss = policy_loss(logprobs, torch.zeros(1, 6), advantages, mask)
    assert loss.tolist()[0] == pytest.approx([-1.2, 1.5, -0.5, 0.8, -2, 0])


@pytest.mark.parametrize("clip", [0.1, 0.2, 0.5])
def test_policy_loss_and_clip_share_against_a_loop(clip: float) -> None:
    logprobs, old, advantages, mask = random_batch(0, 3)
    loss = policy_loss(hide(logprobs, mask), hide(old, mask), hide(advantages, mask), mask, clip)
    num_clipped = 0
    for row in range(4):
        for t in range(6):
            expected = 0.0
            if mask[row, t]:
                ratio = math.exp(logprobs[row, t].item() - old[row, t].item())
                held = min(max(ratio, 1 - clip), 1 + clip)
                advantage = advantages[row, t].item()
                expected = -min(ratio * advantage, held * advantage)
                num_clipped += ratio != held
            assert loss[row, t].item() == pytest.approx(expected, rel=1e-4)
    share = clip_share(hide(logprobs, mask), hide(old, mask), mask, clip)
    assert share.item() == pytest.approx(num_clipped / int(mask.sum()))


def test_first_step_has_the_plain_policy_gradient() -> None:
    logprobs, _, advantages, mask = random_batch(1, 3)
    leaf = logprobs.clone().requires_grad_()
    loss = policy_loss(leaf, logprobs, advantages, mask)
    torch.testing.assert_close(loss[mask], -advantages[mask])
    loss.sum().backward()
    assert leaf.grad is not None
    torch.testing.assert_close(leaf.grad, torch.where(mask, -advantages, 0))
    assert clip_share(logprobs, logprobs, mask) == 0


def test_no_gradient_once_the_gain_is_clipped() -> None:
    leaf = torch.tensor([[1.5, 0.5, 1.5, 0.5]]).log().requires_grad_()
    advantages = torch.tensor([[1.0, -1.0, -1.0, 1.0]])
    mask = torch.ones(1, 4, dtype=torch.bool)
    policy_loss(leaf, torch.zeros(1, 4), advantages, mask).sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.tolist()[0] == pytest.approx([0, 0, 1.5, -0.5])


def test_clipping_never_lowers_the_loss() -> None:
    logprobs, old, advantages, mask = random_batch(2, 3)
    plain = torch.where(mask, -(logprobs - old).exp() * advantages, 0)
    assert (policy_loss(logprobs, old, advantages, mask) >= plain - 1e-6).all()
    torch.testing.assert_close(policy_loss(logprobs, old, advantages, mask, clip=1e9), plain)


def test_gradients_do_not_see_what_the_mask_hides() -> None:
    first, second, third, mask = random_batch(3, 3)
    for loss in (policy_loss, value_loss):
        leaf = hide(first, mask).requires_grad_()
        loss(leaf, hide(second, mask), hide(third, mask), mask, 0.2).sum().backward()
        assert leaf.grad is not None
        assert torch.isfinite(leaf.grad).all()
        assert (leaf.grad[~mask] == 0).all()
        assert (leaf.grad[mask] != 0).any()


def test_value_loss_by_hand() -> None:
    values, old = torch.tensor([[1.0, 0.1, math.nan]]), torch.zeros(1, 3)
    returns, mask = torch.tensor([[2.0, 2.0, 2.0]]), torch.tensor([[True, True, False]])
    assert value_loss(values, old, returns, mask).tolist()[0] == pytest.approx([0.5, 1.805, 0])
    clipped = value_loss(values, old, returns, mask, clip=0.2)
    assert clipped.tolist()[0] == pytest.approx([1.62, 1.805, 0])


@pytest.mark.parametrize("clip", [None, 0.3])
def test_value_loss_against_a_loop(clip: float | None) -> None:
    values, old, returns, mask = random_batch(4, 3)
    loss = value_loss(hide(values, mask), hide(old, mask), hide(returns, mask), mask, clip)
    for row in range(4):
        for t in range(6):
            v, o, r = (x[row, t].item() for x in (values, old, returns))
            expected = (v - r) ** 2 / 2
            if clip is not None:
                expected = max(expected, (min(max(v, o - clip), o + clip) - r) ** 2 / 2)
            if not mask[row, t]:
                expected = 0.0
            assert loss[row, t].item() == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_explained_variance_by_hand() -> None:
    returns = torch.tensor([[0.0, 2.0, 4.0, math.nan]])
    mask = torch.tensor([[True, True, True, False]])
    # Errors (0, 0, 3): variance 2 of 8/3.
    values = torch.tensor([[0.0, 2.0, 1.0, math.inf]])
    assert explained_variance(values, returns, mask).item() == pytest.approx(1 - 2 / (8 / 3))
    assert explained_variance(returns, returns, mask).item() == 1
    assert explained_variance(torch.ones(1, 4), returns, mask).item() == 0
    assert explained_variance(-returns, returns, mask).item() == pytest.approx(-3)


@pytest.mark.parametrize("seed", range(3))
def test_explained_variance_against_a_loop(seed: int) -> None:
    values, returns, mask = random_batch(seed, 2)
    pairs = [(values[i, j].item(), returns[i, j].item()) for i, j in mask.nonzero().tolist()]

    def variance(numbers: list[float]) -> float:
        mean = sum(numbers) / len(numbers)
        return sum((x - mean) ** 2 for x in numbers) / len(numbers)

    expected = 1 - variance([r - v for v, r in pairs]) / variance([r for _, r in pairs])
    result = explained_variance(hide(values, mask), hide(returns, mask), mask)
    assert result.item() == pytest.approx(expected, rel=1e-4)
    # A critic that is off by a constant explains as much.
    assert explained_variance(values + 3, returns, mask).item() == pytest.approx(expected, rel=1e-3)


def test_nothing_to_explain() -> None:
    mask = torch.ones(1, 7, dtype=torch.bool)
    values = torch.linspace(0, 1, 7).unsqueeze(0)
    assert explained_variance(values, torch.full((1, 7), 0.1), mask) == 0
    assert explained_variance(values, values, ~mask) == 0
