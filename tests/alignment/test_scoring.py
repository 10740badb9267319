"""Scores of answers: at their own last token, whatever they were computed with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from arriero.alignment.scoring import RewardModels, score_sequences
from arriero.model.config import ModelConfig
from arriero.model.heads import LanguageModel, ScoreModel
from arriero.model.weights import save_score_model
from arriero.records import LLAMA2_IDS, UserError
from arriero.tokenizer import Tokenizer, load_tokenizer, train_tokenizer

CONFIG = ModelConfig(
    vocab_size=300, dim=16, num_layers=2, num_heads=2, num_kv_heads=1, ffn_dim=24, context=40
)


def score_model(seed: int) -> ScoreModel:
    """With a head as wide as others' so that scores lie on both sides of the threshold."""
    model = ScoreModel.from_language_model(LanguageModel.fresh(CONFIG, seed), seed).eval()
    with torch.no_grad():
        model.score.weight.mul_(20)
    return model


def sequences(count: int, seed: int = 0) -> list[list[int]]:
    random = np.random.default_rng(seed)
    return [random.integers(0, 300, size=n).tolist() for n in random.integers(1, 40, size=count)]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer([f"a mule walks {n} miles" for n in range(100)], folder, 300)
    return load_tokenizer(folder)


def test_scores_are_those_one_by_one() -> None:
    """260 of them: several batches of unlike lengths, input order kept."""
    model = score_model(0)
    rows = sequences(260)
    with torch.no_grad():
        alone = torch.stack([model(torch.tensor([row]))[0, -1] for row in rows])
    torch.testing.assert_close(score_sequences(model, rows), alone, atol=1e-5, rtol=1e-4)


def test_a_score_does_not_depend_on_its_batch() -> None:
    model = score_model(0)
    rows = sequences(20)
    together = score_sequences(model, rows)
    reversed_order = score_sequences(model, rows[::-1]).flip(0)
    some = score_sequences(model, rows[3:5])
    torch.testing.assert_close(together, reversed_order, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(together[3:5], some, atol=1e-6, rtol=1e-6)


def test_the_score_is_read_after_eos() -> None:
    """What comes before the last token counts, and so does the last token itself."""
    model = score_model(0)
    with_eos, without, other = score_sequences(model, [[1, 9, 8, 2], [1, 9, 8], [1, 9, 8, 5]])
    with torch.no_grad():
        states = model(torch.tensor([[1, 9, 8, 2]]))[0]
    torch.testing.assert_close(with_eos, states[3], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(without, states[2], atol=1e-6, rtol=1e-5)
    assert abs(float(with_eos - other)) > 1e-3


@dataclass
class Share:
    """One of several scorers; `others` are what they found, added up."""

    dp_rank: int
    dp_size: int
    others: list[float] | None = None
    found: list[float] | None = None

    def sums(self, values: list[float]) -> list[float]:
        self.found = values
        others = self.others or [0.0] * len(values)
        return [one + other for one, other in zip(values, others, strict=True)]


def test_scorers_share_the_sequences_and_have_all_scores() -> None:
    model = score_model(0)
    rows = sequences(21)
    rows += rows[:5]  # some of them twice
    expected = score_sequences(model, rows)
    shares = [Share(number, 3) for number in range(3)]
    for share in shares:
        score_sequences(model, rows, share)
    found = torch.tensor([share.found for share in shares])
    # Of the different sequences each scorer has a third, and the others have nothing there.
    assert (found != 0).sum(1).tolist() == [7, 7, 7]
    assert ((found != 0).sum(0) == 1).all()
    last = Share(0, 3, found[1:].sum(0).tolist())
    torch.testing.assert_close(score_sequences(model, rows, last), expected, atol=1e-6, rtol=1e-6)


def test_nothing_and_too_much() -> None:
    model = score_model(0)
    assert score_sequences(model, []).tolist() == []
    assert len(score_sequences(model, [[1] * 40])) == 1
    with pytest.raises(UserError, match="41 tokens, the reward model's context is 40"):
        score_sequences(model, [[1], [1] * 41])


def test_the_composite_follows_safety_where_it_must() -> None:
    """Section 3.2.3 in probabilities: Rs on tagged prompts or where Rs < 0.15, else Rh."""
    judges = RewardModels(score_model(0), score_model(1))
    rows = sequences(60, seed=3)
    tagged = torch.arange(60) % 3 == 0
    got = judges.score(rows, tagged)
    torch.testing.assert_close(got.helpfulness, score_sequences(judges.helpfulness, rows))
    torch.testing.assert_close(got.safety, score_sequences(judges.safety, rows))
    follows_safety = []
    for index in range(60):
        helpful, safe = float(got.helpfulness[index]), float(got.safety[index])
        follows_safety.append(bool(tagged[index]) or 1 / (1 + np.exp(-safe)) < 0.15)
        assert float(got.composite[index]) == (safe if follows_safety[-1] else helpful)
    assert sum(follows_safety) > 20  # some for the threshold alone
    assert sum(follows_safety) < 60


def test_reward_models_must_speak_the_policys_tokens(tokenizer: Tokenizer, tmp_path: Path) -> None:
    folders = [tmp_path / "helpfulness", tmp_path / "safety"]
    for seed, folder in enumerate(folders):
        save_score_model(score_model(seed), folder, LLAMA2_IDS)
        tokenizer.save(folder, model_max_length=64)
    cpu = torch.device("cpu")
    judges = RewardModels.load(folders[0], folders[1], tokenizer, cpu)
    assert torch.equal(judges.safety.score.weight, score_model(1).score.weight)
    train_tokenizer([f"other words {n} here" for n in range(100)], tmp_path / "other", 290)
    other = load_tokenizer(tmp_path / "other")
    with pytest.raises(UserError, match="helpfulness: its tokenizer is not the policy's"):
        RewardModels.load(folders[0], folders[1], other, cpu)
