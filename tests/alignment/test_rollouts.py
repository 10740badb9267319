"""The layout of rollouts, and log-probabilities and values at the right places."""

from __future__ import annotations

import torch

from arriero.alignment.rollouts import (
    answer_logprobs,
    answer_logprobs_and_entropy,
    answer_values,
    lay_out,
)
from arriero.inference.generate import Sampling, generate
from arriero.model.config import ModelConfig
from arriero.model.heads import LanguageModel, ScoreModel

CONFIG = ModelConfig(
    vocab_size=31, dim=16, num_layers=2, num_heads=2, num_kv_heads=2, ffn_dim=24, context=48
)
PROMPTS = [[1, 5, 6], [1, 9, 4, 7, 22, 13]]


def test_layout() -> None:
    model = LanguageModel.fresh(CONFIG, seed=0).eval()
    samples = generate(model, PROMPTS, Sampling(max_new_tokens=6), seed=0, ends=(2,))
    rollouts = lay_out(PROMPTS, [completions[0] for completions in samples])
    for row, prompt in enumerate(PROMPTS):
        answer = samples[row][0].tokens
        assert rollouts.tokens[row, : len(prompt)].tolist() == prompt
        assert rollouts.tokens[row][rollouts.mask[row]].tolist() == answer
        assert int(rollouts.lengths[row]) == len(answer)
        assert not rollouts.mask[row, : len(prompt)].any()
    some = rollouts.rows(torch.tensor([0]))
    assert some.tokens.shape == (1, len(PROMPTS[0]) + len(samples[0][0].tokens))


def test_trainer_and_sampler_agree_on_the_logprobs() -> None:
    model = LanguageModel.fresh(CONFIG, seed=0).eval()
    samples = generate(
        model, PROMPTS, Sampling(temperature=0.8, max_new_tokens=8), seed=4, ends=(2,)
    )
    rollouts = lay_out(PROMPTS, [completions[0] for completions in samples])
    logprobs, entropy = answer_logprobs_and_entropy(model, rollouts, temperature=0.8)
    assert torch.equal(logprobs, answer_logprobs(model, rollouts, temperature=0.8))
    torch.testing.assert_close(logprobs, rollouts.sampler_logprobs, atol=1e-4, rtol=0)
    assert bool((entropy[rollouts.mask] > 0).all())
    assert bool((entropy[~rollouts.mask] == 0).all())


def test_values_stand_before_the_token_they_judge() -> None:
    critic = ScoreModel.from_language_model(LanguageModel.fresh(CONFIG, seed=0), seed=1).eval()
    model = LanguageModel.fresh(CONFIG, seed=0).eval()
    samples = generate(model, PROMPTS, Sampling(max_new_tokens=5), seed=4, ends=(2,))
    rollouts = lay_out(PROMPTS, [completions[0] for completions in samples])
    values = answer_values(critic, rollouts)
    with torch.no_grad():
        for row, prompt in enumerate(PROMPTS):
            # The state after the prompt alone decides the first value.
            expected = critic(torch.tensor([prompt]))[0, -1]
            torch.testing.assert_close(values[row, len(prompt)], expected, atol=1e-5, rtol=0)


def test_no_rows_are_one_without_an_answer() -> None:
    """Every weight gets a gradient of 0 from it: who has nothing to do keeps pace with others."""
    model = LanguageModel.fresh(CONFIG, seed=0)
    critic = ScoreModel.from_language_model(LanguageModel.fresh(CONFIG, seed=0), seed=1)
    samples = generate(model, PROMPTS, Sampling(max_new_tokens=5), seed=4, ends=(2,))
    rollouts = lay_out(PROMPTS, [completions[0] for completions in samples])
    nothing = rollouts.rows(torch.zeros(0, dtype=torch.int64))
    assert not nothing.mask.any()
    assert nothing.lengths.tolist() == [0]
    logprobs = answer_logprobs(model, nothing, temperature=0.8)
    _, entropy = answer_logprobs_and_entropy(model, nothing, temperature=0.8)
    values = answer_values(critic, nothing)
    assert [logprobs.tolist(), entropy.tolist(), values.tolist()] == [[[0.0]]] * 3
    (logprobs.sum() + values.sum()).backward()
    for parameter in (*model.parameters(), *critic.parameters()):
        assert parameter.grad is not None
        assert not parameter.grad.any()
