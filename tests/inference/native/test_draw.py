"""The compiled draw against the equation, number by number, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from arriero.equations.sampling import chosen_logprobs, sample_tokens
from arriero.inference.native.runner import NativeRunner
from arriero.model.config import ModelConfig
from arriero.model.heads import LanguageModel
from tests.inference.native.test_runner import compiled


def runner_of(vocab_size: int) -> NativeRunner:
    config = ModelConfig(
        vocab_size=vocab_size, dim=8, num_layers=1, num_heads=1, num_kv_heads=1, ffn_dim=8
    )
    return compiled(LanguageModel.fresh(config, 0), num_rows=1, num_slots=16)


RUNNERS = {size: runner_of(size) for size in (3, 17, 300, 32_000)}


def draw(
    logits: torch.Tensor,
    uniforms: torch.Tensor,
    temperature: float = 1.0,
    top_p: float = 1.0,
    top_k: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    count, size = logits.shape
    padded = np.full((count, -(-size // 32) * 32), 7.0, np.float32)  # what pads must not be drawn
    padded[:, :size] = logits.numpy()
    return RUNNERS[size].draw(
        padded,
        uniforms.numpy(),
        np.full(count, temperature, np.float32),
        np.full(count, top_p, np.float32),
        np.full(count, top_k, np.int64),
    )


def test_by_hand() -> None:
    logits = torch.tensor([[0.5, 0.3, 0.2]]).log().expand(4, 3)
    tokens, logprobs = draw(logits, torch.tensor([0.49, 0.51, 0.79, 0.81]))
    assert tokens.tolist() == [0, 1, 1, 2]
    np.testing.assert_allclose(np.exp(logprobs), [0.5, 0.3, 0.3, 0.2], rtol=1e-5)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    size=st.sampled_from([3, 17, 300]),
    temperature=st.sampled_from([0.0, 0.1, 0.7, 1.0, 3.0]),
    top_p=st.sampled_from([0.01, 0.5, 0.9, 0.999, 1.0]),
    top_k=st.sampled_from([0, 1, 2, 40, 1000]),
)
def test_it_is_the_equation(
    seed: int, size: int, temperature: float, top_p: float, top_k: int
) -> None:
    """The same tokens; where sums round apart the share lies on the border of both."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(16, size, generator=generator) * 3
    logits[torch.rand(logits.shape, generator=generator) < 0.1] = -torch.inf
    logits[:, 1] = 0.0
    uniforms = torch.rand(16, generator=generator)
    expected = sample_tokens(logits.double(), uniforms.double(), temperature, top_p, top_k)
    tokens, logprobs = draw(logits, uniforms, temperature, top_p, top_k)
    assert tokens.tolist() == expected.tolist()
    exact = chosen_logprobs(logits.double(), expected, temperature)
    np.testing.assert_allclose(logprobs, exact.numpy(), atol=2e-5)


def test_a_large_vocabulary_in_the_right_shares() -> None:
    """Every number of a fine grid draws what the exact cumulative sum says, but for its borders."""
    logits = torch.randn(1, 32_000, generator=torch.Generator().manual_seed(1)) * 2
    uniforms = torch.arange(4000) / 4000
    tokens, _ = draw(logits.expand(4000, -1), uniforms)
    cumulative = logits[0].double().softmax(-1).cumsum(-1)
    share = uniforms.double()
    first = torch.searchsorted(cumulative, share - 1e-5)
    last = torch.searchsorted(cumulative, share + 1e-5)
    got = torch.from_numpy(tokens)
    assert bool(((got >= first) & (got <= last.clamp(max=31_999))).all())
    exact = torch.searchsorted(cumulative, share, right=True)
    assert (got == exact).double().mean() > 0.99


def test_the_ends_of_the_unit_interval() -> None:
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf]]).expand(2, 3)
    tokens, logprobs = draw(logits, torch.tensor([0.0, 1 - 2**-24]))
    assert tokens.tolist() == [1, 1]
    assert logprobs.tolist() == [0.0, 0.0]


def test_no_distribution_is_refused() -> None:
    for bad in ([0.0, torch.nan, 1.0], [0.0, torch.inf, 1.0], [-torch.inf] * 3):
        with pytest.raises(ValueError, match="NaN"):
            draw(torch.tensor([bad]), torch.tensor([0.5]))


def test_each_row_has_settings_of_its_own() -> None:
    logits = np.zeros((3, 32), np.float32)
    logits[:, :3] = np.log([0.5, 0.3, 0.2])
    tokens, _ = RUNNERS[3].draw(
        logits,
        np.array([0.9, 0.9, 0.9], np.float32),
        np.array([0.0, 1.0, 1.0], np.float32),
        np.array([1.0, 1.0, 0.6], np.float32),
        np.array([0, 0, 0], np.int64),
    )
    assert tokens.tolist() == [0, 2, 1]
