from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from arriero.equations.logprobs import entropy, kl_k1, kl_k3, token_logprobs


def random_logits(seed: int) -> Tensor:
    return torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(seed)) * 3


def test_token_logprobs_by_hand() -> None:
    logits = torch.tensor([[[0.0, math.log(3)]]])
    assert token_logprobs(logits, torch.tensor([[1]])).item() == pytest.approx(math.log(0.75))
    assert token_logprobs(logits, torch.tensor([[0]])).item() == pytest.approx(math.log(0.25))
    # At temperature 0.5 the odds are squared: 9 to 1.
    assert token_logprobs(logits, torch.tensor([[1]]), 0.5).item() == pytest.approx(math.log(0.9))


@pytest.mark.parametrize("temperature", [0.3, 1.0, 1.7])
def test_token_logprobs_against_a_loop(temperature: float) -> None:
    logits = random_logits(0)
    tokens = torch.tensor([[0, 4, 2], [1, 1, 3]])
    result = token_logprobs(logits, tokens, temperature)
    assert result.shape == (2, 3)
    for b in range(2):
        for t in range(3):
            weights = [math.exp(x / temperature) for x in logits[b, t].tolist()]
            expected = math.log(weights[int(tokens[b, t])] / sum(weights))
            assert result[b, t].item() == pytest.approx(expected, abs=1e-5)


def test_probabilities_of_all_tokens_sum_to_one() -> None:
    logits = random_logits(1)
    every = torch.stack(
        [token_logprobs(logits, torch.full((2, 3), token), 0.8) for token in range(5)]
    )
    torch.testing.assert_close(every.exp().sum(0), torch.ones(2, 3))
    assert (every <= 0).all()


def test_large_and_half_precision_logits() -> None:
    big = torch.tensor([[[1e4, -1e4]]])
    assert token_logprobs(big, torch.tensor([[0]])).item() == 0
    assert token_logprobs(big, torch.tensor([[1]])).item() == -2e4
    half = random_logits(2).bfloat16()
    tokens = torch.zeros(2, 3, dtype=torch.long)
    result = token_logprobs(half, tokens)
    assert result.dtype == torch.float32
    assert torch.equal(result, token_logprobs(half.float(), tokens))


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_temperature_must_be_above_zero(temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature"):
        token_logprobs(random_logits(0), torch.zeros(2, 3, dtype=torch.long), temperature)


def test_entropy_by_hand() -> None:
    assert entropy(torch.zeros(1, 1, 8)).item() == pytest.approx(math.log(8))
    logits = torch.tensor([[[0.0, math.log(3)]]])
    expected = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert entropy(logits).item() == pytest.approx(expected)


def test_entropy_is_the_mean_of_minus_logprob() -> None:
    logits = random_logits(3)
    total = torch.zeros(2, 3)
    for token in range(5):
        logprob = token_logprobs(logits, torch.full((2, 3), token))
        total -= logprob.exp() * logprob
    torch.testing.assert_close(entropy(logits), total)


def test_entropy_with_impossible_tokens() -> None:
    logits = torch.tensor([[[0.0, 0.0, -math.inf]]], requires_grad=True)
    result = entropy(logits)
    assert result.item() == pytest.approx(math.log(2))
    result.sum().backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_entropy_gradient() -> None:
    logits = random_logits(4).double().requires_grad_()
    assert torch.autograd.gradcheck(entropy, (logits,))


def test_kl_estimates_by_hand() -> None:
    policy, reference = torch.tensor([0.5]).log(), torch.tensor([0.25]).log()
    assert kl_k1(policy, reference).item() == pytest.approx(math.log(2))
    assert kl_k3(policy, reference).item() == pytest.approx(0.5 - 1 + math.log(2))


def test_kl_estimates_are_unbiased() -> None:
    policy = random_logits(5)[0, 0].double().log_softmax(-1)
    reference = random_logits(6)[0, 0].double().log_softmax(-1)
    divergence = sum(
        math.exp(p) * (p - q) for p, q in zip(policy.tolist(), reference.tolist(), strict=True)
    )
    for estimate in (kl_k1, kl_k3):
        mean = (policy.exp() * estimate(policy, reference)).sum().item()
        assert mean == pytest.approx(divergence)


def test_k3_is_never_negative_and_zero_for_equal_policies() -> None:
    generator = torch.Generator().manual_seed(0)
    policy = -torch.rand(10_000, generator=generator) * 5
    noise = torch.randn(10_000, generator=generator)
    for scale in (1.0, 1e-2, 1e-4, 1e-6):
        assert (kl_k3(policy, policy + scale * noise) >= 0).all()
    assert (kl_k3(policy, policy) == 0).all()
    assert (kl_k1(policy, policy) == 0).all()
