"""Sampling: against a slow loop without cache, independent of neighbours, right in distribution."""

from __future__ import annotations

import pytest
import torch

from arriero.equations.logprobs import token_logprobs
from arriero.inference.generate import Interrupted, Sampling, generate
from arriero.model.config import ModelConfig
from arriero.model.heads import LanguageModel
from arriero.model.lora import LoraConfig, with_adapters
from arriero.records import UserError

EOS_ID = 2
ENDS = (EOS_ID,)
CONFIG = ModelConfig(
    vocab_size=31, dim=16, num_layers=2, num_heads=4, num_kv_heads=2, ffn_dim=24, context=48
)


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return LanguageModel.fresh(CONFIG, seed=0).eval()


PROMPTS = [[1, 5, 6], [1, 9, 4, 7, 22, 13], [1, 3], [1, 8, 8, 8, 8]]


def test_greedy_equals_the_slow_loop(model: LanguageModel) -> None:
    got = generate(model, PROMPTS, Sampling(temperature=0, max_new_tokens=12), seed=0, ends=ENDS)
    for prompt, completions in zip(PROMPTS, got, strict=True):
        ids = list(prompt)
        with torch.no_grad():
            while len(ids) < len(prompt) + 12 and ids[-1] != EOS_ID:
                ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
        assert completions[0].tokens == ids[len(prompt) :]


def test_samples_nobody_wants_any_more_are_given_up(model: LanguageModel) -> None:
    asked: list[bool] = []

    def is_unwanted() -> bool:
        asked.append(len(asked) == 3)
        return asked[-1]

    settings = Sampling(temperature=1, max_new_tokens=12)
    with pytest.raises(Interrupted):
        generate(model, PROMPTS, settings, seed=0, ends=ENDS, is_unwanted=is_unwanted)
    assert asked == [False, False, False, True]


def test_logprobs_are_those_of_the_trainer(model: LanguageModel) -> None:
    sampling = Sampling(temperature=0.7, max_new_tokens=10)
    for prompt, samples in zip(
        PROMPTS, generate(model, PROMPTS, sampling, seed=3, ends=ENDS, num_samples=3), strict=True
    ):
        for sample in samples:
            ids = torch.tensor([[*prompt, *sample.tokens]])
            with torch.no_grad():
                logits = model(ids)[:, len(prompt) - 1 : -1]
            expected = token_logprobs(logits, ids[:, len(prompt) :], temperature=0.7)[0]
            torch.testing.assert_close(torch.tensor(sample.logprobs), expected, atol=1e-4, rtol=0)


def test_a_sample_does_not_depend_on_its_neighbours(model: LanguageModel) -> None:
    sampling = Sampling(max_new_tokens=15)
    together = generate(model, PROMPTS, sampling, seed=1, ends=ENDS, num_samples=2)
    for key, prompt in enumerate(PROMPTS):
        alone = generate(model, [prompt], sampling, seed=1, ends=ENDS, keys=[key], num_samples=2)[0]
        assert [sample.tokens for sample in alone] == [s.tokens for s in together[key]]
    small = generate(model, PROMPTS, sampling, seed=1, ends=ENDS, num_samples=2, max_rows=2)
    assert [[s.tokens for s in row] for row in small] == [[s.tokens for s in r] for r in together]


def test_seeds_and_samples_differ(model: LanguageModel) -> None:
    sampling = Sampling(temperature=1.5, max_new_tokens=12)
    first = generate(model, [PROMPTS[1]], sampling, seed=0, ends=ENDS, num_samples=4)[0]
    assert len({tuple(sample.tokens) for sample in first}) == 4
    second = generate(model, [PROMPTS[1]], sampling, seed=1, ends=ENDS, num_samples=4)[0]
    assert [s.tokens for s in first] != [s.tokens for s in second]


def test_first_tokens_follow_the_model(model: LanguageModel) -> None:
    """2,000 samples against the exact distribution of the next token."""
    sampling = Sampling(max_new_tokens=1)
    samples = generate(
        model, [PROMPTS[0]], sampling, seed=5, ends=ENDS, num_samples=2000, max_rows=2000
    )[0]
    counts = torch.bincount(torch.tensor([s.tokens[0] for s in samples]), minlength=31)
    with torch.no_grad():
        exact = model(torch.tensor([PROMPTS[0]]))[0, -1].softmax(-1)
    spread = (exact * (1 - exact) / 2000).sqrt()
    assert bool(((counts / 2000 - exact).abs() < 5 * spread + 1e-3).all())


def test_an_answer_ends_at_eos_and_keeps_it(model: LanguageModel) -> None:
    sampling = Sampling(temperature=2.0, max_new_tokens=40)
    samples = generate(model, [PROMPTS[2]], sampling, seed=2, ends=ENDS, num_samples=64)[0]
    ended = [sample for sample in samples if sample.ended]
    assert ended
    for sample in samples:
        assert sample.ended == (sample.tokens[-1] == EOS_ID)
        assert EOS_ID not in sample.tokens[:-1]
        assert len(sample.tokens) == len(sample.logprobs) <= 40


def test_the_context_is_never_passed(model: LanguageModel) -> None:
    prompt = [1] + [5] * 44
    samples = generate(
        model, [prompt], Sampling(max_new_tokens=40), seed=0, ends=ENDS, num_samples=8
    )[0]
    assert max(len(sample.tokens) for sample in samples) <= 48 - 45
    with pytest.raises(UserError, match="context is 48"):
        generate(model, [[1] * 48], Sampling(), seed=0, ends=ENDS)


def test_rows_that_end_make_room_and_nothing_changes(model: LanguageModel) -> None:
    """Few rows that refill again and again, against every prompt alone."""
    prompts = [[1, *range(5, 6 + number % 7)] for number in range(23)]
    sampling = Sampling(temperature=1.0, max_new_tokens=12)
    together = generate(model, prompts, sampling, seed=3, ends=ENDS, num_samples=2, max_rows=6)
    lengths = {len(sample.tokens) for samples in together for sample in samples}
    assert len(lengths) > 3, "rows end at different steps"
    for number, prompt in enumerate(prompts):
        alone = generate(
            model, [prompt], sampling, seed=3, ends=ENDS, keys=[number], num_samples=2
        )[0]
        assert [one.tokens for one in alone] == [one.tokens for one in together[number]]
        for one, other in zip(alone, together[number], strict=True):
            assert one.logprobs == pytest.approx(other.logprobs, abs=1e-5)
            assert one.ended == other.ended


def test_nothing_asked_nothing_sampled(model: LanguageModel) -> None:
    assert generate(model, [], Sampling(), seed=0, ends=ENDS) == []


@pytest.mark.usefixtures("way")
def test_adapters_are_sampled_with(model: LanguageModel) -> None:
    """What is drawn has the log-probabilities of the adapted model, not of the frozen weights."""
    base = LanguageModel.fresh(CONFIG, seed=0)
    adapted = with_adapters(base, LoraConfig(rank=3), seed=1)
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2)
    sampling = Sampling(max_new_tokens=10)
    for prompt, samples in zip(
        PROMPTS, generate(adapted, PROMPTS, sampling, seed=3, ends=ENDS), strict=True
    ):
        ids = torch.tensor([[*prompt, *samples[0].tokens]])
        with torch.no_grad():
            found, frozen = (
                token_logprobs(one(ids)[:, len(prompt) - 1 : -1], ids[:, len(prompt) :], 1.0)[0]
                for one in (adapted, model)
            )
        drawn = torch.tensor(samples[0].logprobs)
        torch.testing.assert_close(drawn, found, atol=1e-4, rtol=0)
        assert float((drawn - frozen).abs().max()) > 0.1
