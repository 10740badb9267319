from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from arriero.equations.logprobs import token_logprobs
from arriero.equations.sampling import chosen_logprobs, sample_tokens

THREE = torch.tensor([0.5, 0.3, 0.2]).log()


def draw(logits: Tensor, uniforms: list[float], **settings: float) -> list[int]:
    """Tokens drawn from one row of logits for each of the numbers."""
    top_k = int(settings.pop("top_k", 0))
    rows = logits.expand(len(uniforms), -1)
    settings = {"temperature": 1.0, **settings}
    return sample_tokens(rows, torch.tensor(uniforms), top_k=top_k, **settings).tolist()


def slow_draw(
    logits: list[float], uniform: float, temperature: float, top_p: float, top_k: int
) -> int:
    """The definition, token by token, in double precision."""
    peak = max(logits)
    masses = [math.exp((x - peak) / temperature) for x in logits]
    order = sorted(range(len(logits)), key=lambda i: -masses[i])
    if top_k:
        order = order[:top_k]
    total = sum(masses[i] for i in order)
    kept, reached = list[int](), 0.0
    for i in order:
        kept.append(i)
        reached += masses[i] / total
        if reached >= top_p:
            break
    total = sum(masses[i] for i in kept)
    cumulative = 0.0
    for i in sorted(kept):
        cumulative += masses[i] / total
        if cumulative > uniform:
            return i
    return max(kept)


def test_by_hand() -> None:
    assert draw(THREE, [0.0, 0.49, 0.51, 0.79, 0.81, 0.999]) == [0, 0, 1, 1, 2, 2]
    # Temperature 0.5 squares the odds: 25, 9 and 4 of 38.
    assert draw(THREE, [0.65, 0.67, 0.88, 0.90], temperature=0.5) == [0, 1, 1, 2]
    assert draw(THREE, [0.6, 0.63, 0.99], top_k=2) == [0, 1, 1]
    assert draw(THREE, [0.6, 0.63, 0.99], top_p=0.79) == [0, 1, 1]
    assert draw(THREE, [0.49, 0.79, 0.81], top_p=0.81) == [0, 1, 2]
    assert draw(THREE, [0.0, 0.5, 0.999], top_p=1e-9) == [0, 0, 0]
    # The first two of four equal tokens reach exactly one half: a third is not needed.
    assert len(set(draw(torch.zeros(4), [0.0, 0.3, 0.6, 0.999], top_p=0.5))) == 2


@pytest.mark.parametrize(
    ("temperature", "top_p", "top_k"),
    [(1.0, 1.0, 0), (0.7, 1.0, 0), (1.3, 0.9, 0), (1.0, 1.0, 5), (0.8, 0.5, 7), (2.0, 1.0, 100)],
)
def test_against_a_loop(temperature: float, top_p: float, top_k: int) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(200, 17, generator=generator) * 2
    uniforms = torch.rand(200, generator=generator)
    tokens = sample_tokens(logits, uniforms, temperature, top_p, top_k)
    for row in range(200):
        expected = slow_draw(logits[row].tolist(), uniforms[row].item(), temperature, top_p, top_k)
        assert tokens[row] == expected


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.5])
def test_an_even_grid_of_numbers_gives_the_distribution(temperature: float) -> None:
    logits = torch.randn(12, generator=torch.Generator().manual_seed(1))
    grid = (torch.arange(10_000) + 0.5) / 10_000
    tokens = sample_tokens(logits.expand(10_000, -1), grid, temperature)
    shares = torch.bincount(tokens, minlength=12) / 10_000
    torch.testing.assert_close(shares, (logits / temperature).softmax(-1), rtol=0, atol=2e-4)


@pytest.mark.parametrize("filters", [{}, {"top_p": 0.9}, {"top_k": 4}])
def test_a_token_of_probability_zero_is_never_drawn(filters: dict[str, float]) -> None:
    minus = -math.inf
    ends = [0.0, 1e-45, 1e-9, 0.5, 1 - 2**-24, 1.0]
    assert draw(torch.tensor([minus, minus, 0.0, minus, minus]), ends, **filters) == [2] * 6
    # exp(-200) is 0 in float32.
    assert draw(torch.tensor([-200.0, 0.0, -200.0]), ends, **filters) == [1] * 6
    tokens = draw(torch.tensor([minus, 1.0, minus, 1.0, minus]), ends, **filters)
    assert tokens[0] == 1
    assert tokens[-1] == 3


def test_numbers_at_the_ends_of_a_large_vocabulary() -> None:
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(64, 32_000, generator=generator)
    logits[:, :100] = logits[:, -100:] = -math.inf
    assert (sample_tokens(logits, torch.zeros(64), 1.0) == 100).all()
    last = sample_tokens(logits, torch.full((64,), 1 - 2**-24), 1.0)
    assert (last < 31_900).all()
    assert (last > 31_800).all()
    # A float64 number may round to 1 in float32.
    nearly = torch.full((64,), 1 - 1e-12, dtype=torch.float64)
    assert (sample_tokens(logits, nearly, 1.0) < 31_900).all()


def test_a_row_draws_the_same_in_any_batch() -> None:
    generator = torch.Generator().manual_seed(3)
    logits, uniforms = torch.randn(9, 50, generator=generator), torch.rand(9, generator=generator)
    together = sample_tokens(logits, uniforms, 0.9)
    order = torch.randperm(9, generator=generator)
    assert torch.equal(sample_tokens(logits[order], uniforms[order], 0.9), together[order])
    for row in range(9):
        alone = sample_tokens(logits[row : row + 1], uniforms[row : row + 1], 0.9)
        assert alone[0] == together[row]


def test_filters_that_keep_everything_change_nothing() -> None:
    generator = torch.Generator().manual_seed(4)
    logits, uniforms = torch.randn(99, 50, generator=generator), torch.rand(99, generator=generator)
    assert torch.equal(
        sample_tokens(logits, uniforms, 1.1, top_k=50), sample_tokens(logits, uniforms, 1.1)
    )


def test_temperature_zero_takes_the_most_probable() -> None:
    logits = torch.tensor([[0.0, 3.0, 1.0], [5.0, 3.0, 1.0]])
    assert sample_tokens(logits, torch.tensor([0.99, 0.99]), 0.0).tolist() == [1, 0]
    # A very low temperature comes to the same.
    assert sample_tokens(logits, torch.tensor([0.99, 0.99]), 1e-6).tolist() == [1, 0]


def test_logits_are_not_changed() -> None:
    logits = torch.randn(5, 8, generator=torch.Generator().manual_seed(5))
    before = logits.clone()
    for top_p, top_k in ((1.0, 0), (0.5, 0), (1.0, 2)):
        sample_tokens(logits, torch.full((5,), 0.5), 0.7, top_p, top_k)
    assert torch.equal(logits, before)


@pytest.mark.parametrize("top_p", [1.0, 0.9])
@pytest.mark.parametrize("bad", [[0.0, math.nan], [0.0, math.inf], [-math.inf, -math.inf]])
def test_logits_that_are_no_distribution_are_refused(bad: list[float], top_p: float) -> None:
    with pytest.raises(ValueError, match="row of logits"):
        sample_tokens(torch.tensor([[0.0, 1.0], bad]), torch.tensor([0.5, 0.5]), 1.0, top_p)


@pytest.mark.parametrize(
    "settings",
    [(-0.1, 1.0, 0), (1.0, 0.0, 0), (1.0, 1.1, 0), (1.0, 1.0, -1)],
)
def test_settings_out_of_range_are_refused(settings: tuple[float, float, int]) -> None:
    with pytest.raises(ValueError, match="needs"):
        sample_tokens(torch.zeros(1, 3), torch.zeros(1), *settings)


def test_chosen_logprobs_are_those_of_the_unfiltered_distribution() -> None:
    assert chosen_logprobs(THREE[None], torch.tensor([1]), 1.0).item() == pytest.approx(
        math.log(0.3)
    )
    assert chosen_logprobs(THREE[None], torch.tensor([1]), 0.5).item() == pytest.approx(
        math.log(9 / 38)
    )
    logits = torch.randn(6, 20, generator=torch.Generator().manual_seed(6))
    tokens = sample_tokens(logits, torch.full((6,), 0.4), 0.8, top_k=3)
    expected = token_logprobs(logits[:, None], tokens[:, None], 0.8)[:, 0]
    torch.testing.assert_close(chosen_logprobs(logits, tokens, 0.8), expected)


def test_chosen_logprobs_at_temperature_zero() -> None:
    logits = torch.tensor([[0.0, 3.0], [0.0, 3.0]])
    assert chosen_logprobs(logits, torch.tensor([1, 0]), 0.0).tolist() == [0, -math.inf]
