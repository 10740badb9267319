from __future__ import annotations

import math

import pytest
import torch

from arriero.equations.masked import whiten
from arriero.equations.reward import (
    SAFETY_THRESHOLD,
    composite_score,
    logit,
    penalized_rewards,
)


def sigmoid(score: float) -> float:
    return 1 / (1 + math.exp(-score))


def test_logit() -> None:
    assert SAFETY_THRESHOLD == 0.15
    assert logit(0.15) == pytest.approx(-1.7346, abs=1e-4)
    assert logit(0.5) == 0
    for probability in (1e-12, 0.01, 0.3, 0.999):
        assert sigmoid(logit(probability)) == pytest.approx(probability)
    for probability in (0, 1, -0.1, math.nan):
        with pytest.raises(ValueError, match="strictly between"):
            logit(probability)


def test_composite_score_by_hand() -> None:
    score = composite_score(
        torch.tensor([3.0, 3.0, 3.0, -4.0, 3.0]),
        torch.tensor([1.0, -2.0, 1.0, -1.73, -1.74]),
        torch.tensor([False, False, True, False, False]),
    )
    assert score.tolist() == pytest.approx([3, -2, 1, -4, -1.74])


def test_a_safety_score_at_the_threshold_is_not_below_it() -> None:
    # logit(0.5) is exactly 0.
    score = composite_score(torch.tensor([2.0]), torch.zeros(1), torch.tensor([False]), 0.5)
    assert score.item() == 2


@pytest.mark.parametrize("threshold", [0.15, 0.4])
def test_composite_score_against_the_paper_on_probabilities(threshold: float) -> None:
    generator = torch.Generator().manual_seed(0)
    helpfulness, safety = torch.randn(2, 200, generator=generator) * 3
    tagged = torch.rand(200, generator=generator) < 0.3
    score = composite_score(helpfulness, safety, tagged, threshold)
    for i in range(200):
        helpful, safe = sigmoid(helpfulness[i].item()), sigmoid(safety[i].item())
        chosen = safe if tagged[i] or safe < threshold else helpful
        assert sigmoid(score[i].item()) == pytest.approx(chosen, rel=1e-5)


def test_composite_score_does_not_saturate() -> None:
    # sigmoid(40) and sigmoid(50) are the same float32; their order must survive to the whitening.
    score = composite_score(
        torch.tensor([40.0, 50.0]), torch.zeros(2), torch.zeros(2, dtype=torch.bool)
    )
    assert score.tolist() == [40, 50]
    assert whiten(score, torch.ones(2, dtype=torch.bool)).tolist() == pytest.approx([-1, 1])


def test_penalized_rewards_by_hand() -> None:
    nan = math.nan
    rewards = penalized_rewards(
        score=torch.tensor([1.0, -2.0, nan]),
        policy_logprobs=torch.tensor([[nan, -1.0, -2.0, nan], [-1.0, nan, nan, nan], [nan] * 4]),
        reference_logprobs=torch.tensor(
            [[nan, -1.5, -1.0, math.inf], [-1.0, nan, -math.inf, nan], [nan] * 4]
        ),
        mask=torch.tensor([[False, True, True, False], [True, False, False, False], [False] * 4]),
        beta=0.1,
    )
    assert rewards.tolist()[0] == pytest.approx([0, -0.05, 1.1, 0])
    assert rewards.tolist()[1] == pytest.approx([-2, 0, 0, 0])
    assert rewards.tolist()[2] == [0, 0, 0, 0]


@pytest.mark.parametrize("seed", range(3))
def test_penalized_rewards_against_a_loop(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    score = torch.randn(6, generator=generator)
    policy, reference = -torch.rand(2, 6, 8, generator=generator)
    starts = torch.randint(0, 4, (6,), generator=generator)
    ends = starts + torch.randint(0, 5, (6,), generator=generator)
    mask = torch.zeros(6, 8, dtype=torch.bool)
    expected = torch.zeros(6, 8)
    for row in range(6):
        last = None
        for t in range(int(starts[row]), int(ends[row])):
            mask[row, t] = True
            expected[row, t] = -0.3 * (policy[row, t] - reference[row, t])
            last = t
        if last is not None:
            expected[row, last] += score[row]
    rewards = penalized_rewards(score, policy, reference, mask, 0.3)
    torch.testing.assert_close(rewards, expected)
    # The rewards of an answer sum to the equation of the section.
    whole = torch.where(mask, policy - reference, 0).sum(1)
    is_answered = mask.any(1)
    torch.testing.assert_close(rewards.sum(1)[is_answered], (score - 0.3 * whole)[is_answered])


def test_padding_on_either_side_changes_nothing() -> None:
    score = torch.tensor([2.0])
    policy, reference = torch.tensor([[-1.0, -2.0]]), torch.tensor([[-1.2, -1.0]])
    mask = torch.ones(1, 2, dtype=torch.bool)
    bare = penalized_rewards(score, policy, reference, mask, 0.5)
    pad = torch.nn.functional.pad
    padded = penalized_rewards(
        score,
        pad(policy, (3, 1), value=math.nan),
        pad(reference, (3, 1), value=math.nan),
        pad(mask, (3, 1)),
        0.5,
    )
    assert torch.equal(padded, pad(bare, (3, 1)))
