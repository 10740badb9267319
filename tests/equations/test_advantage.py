from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from arriero.equations.advantage import generalized_advantages


def random_batch(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """rewards, values and mask, all [6, 9]: answers of 0 to 5 tokens after prompts of 0 to 3."""
    generator = torch.Generator().manual_seed(seed)
    rewards, values = torch.randn(2, 6, 9, generator=generator)
    starts = torch.randint(0, 4, (6, 1), generator=generator)
    lengths = torch.randint(0, 6, (6, 1), generator=generator)
    positions = torch.arange(9)
    return rewards, values, (positions >= starts) & (positions < starts + lengths)


def test_by_hand() -> None:
    mask = torch.tensor([[False, True, True, False]])
    rewards = torch.tensor([[math.nan, 0.0, 1.0, math.inf]])
    values = torch.tensor([[9.0, 0.5, 0.5, math.nan]])
    advantages, returns = generalized_advantages(rewards, values, mask, gamma=1.0, lam=0.5)
    assert advantages.tolist() == [[0, 0.25, 0.5, 0]]
    assert returns.tolist() == [[0, 0.75, 1, 0]]


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 0.95), (0.9, 0.5), (1.0, 1.0), (0.99, 0.0)])
@pytest.mark.parametrize("seed", range(3))
def test_against_the_sum_of_discounted_differences(gamma: float, lam: float, seed: int) -> None:
    rewards, values, mask = random_batch(seed)
    garbage = torch.where(mask, 0.0, math.nan)
    advantages, returns = generalized_advantages(
        rewards + garbage, values + garbage, mask, gamma, lam
    )
    for row in range(6):
        tokens = mask[row].nonzero().flatten().tolist()
        r = [rewards[row, t].item() for t in tokens]
        v = [values[row, t].item() for t in tokens] + [0.0]
        deltas = [r[i] + gamma * v[i + 1] - v[i] for i in range(len(r))]
        for i, t in enumerate(tokens):
            expected = sum((gamma * lam) ** (j - i) * deltas[j] for j in range(i, len(r)))
            assert advantages[row, t].item() == pytest.approx(expected, abs=1e-5)
            assert returns[row, t].item() == pytest.approx(expected + v[i], abs=1e-5)
    assert (advantages[~mask] == 0).all()
    assert (returns[~mask] == 0).all()


def test_lambda_one_gives_the_whole_return() -> None:
    rewards, values, mask = random_batch(7)
    _, returns = generalized_advantages(rewards, values, mask, gamma=1.0, lam=1.0)
    to_go = torch.where(mask, rewards, 0).flip(1).cumsum(1).flip(1)
    torch.testing.assert_close(returns[mask], to_go[mask])


def test_perfect_critic_leaves_no_advantage() -> None:
    rewards, _, mask = random_batch(8)
    to_go = torch.where(mask, rewards, 0).flip(1).cumsum(1).flip(1)
    advantages, _ = generalized_advantages(rewards, to_go, mask)
    torch.testing.assert_close(advantages, torch.zeros(6, 9), rtol=0, atol=1e-5)


def test_an_answer_does_not_depend_on_its_batch() -> None:
    rewards, values, mask = random_batch(9)
    together = generalized_advantages(rewards, values, mask)
    for row in range(6):
        alone = generalized_advantages(
            rewards[row : row + 1], values[row : row + 1], mask[row : row + 1]
        )
        assert torch.equal(alone[0][0], together[0][row])
        assert torch.equal(alone[1][0], together[1][row])


def test_defaults_are_the_settings_of_the_project() -> None:
    batch = random_batch(10)
    assert torch.equal(
        generalized_advantages(*batch)[0], generalized_advantages(*batch, gamma=1.0, lam=0.95)[0]
    )
