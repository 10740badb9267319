"""Agreement with an oracle: who orders a pair as it does, ties left out."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from arriero.alignment.scoring import RewardModels
from arriero.equations.intervals import wilson_interval
from arriero.evaluation.reward_models import oracle_agreement
from arriero.model.config import ModelConfig
from arriero.model.heads import LanguageModel, ScoreModel
from arriero.records import Grade, Message, Preference, Prompt
from arriero.tokenizer import Tokenizer, load_tokenizer, train_tokenizer
from arriero.tokenizer.chat import encode_answer, encode_prompt

CONFIG = ModelConfig(
    vocab_size=300, dim=16, num_layers=1, num_heads=2, num_kv_heads=2, ffn_dim=24, context=128
)
WORDS = "salt wool river road stone bread water letter valley mule".split()


class LengthOracle:
    """Finds the longer answer the better one."""

    def grade(self, prompt: Prompt, answer: str) -> Grade:
        assert prompt.id.startswith("p")
        value = min(1.0, len(answer) / 100)
        return Grade(value, value, True, False, False, "fine")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer([f"{' '.join(WORDS)} [INST] {n}" for n in range(100)], folder, 300)
    return load_tokenizer(folder)


def score_model(seed: int) -> ScoreModel:
    return ScoreModel.from_language_model(LanguageModel.fresh(CONFIG, seed), seed).eval()


def row(number: int, chosen: str, rejected: str) -> Preference:
    prompt = (Message("user", f"{WORDS[number % 10]} {number}?"),)
    return Preference(prompt, chosen, rejected, prompt_id=f"p{number}")


def test_agreement_by_hand(tokenizer: Tokenizer) -> None:
    rows = [
        row(n, WORDS[n % 10] * (1 + n % 3), WORDS[(n + 3) % 10] * (1 + (n + n // 4) % 3))
        for n in range(24)
    ]
    judges = RewardModels(score_model(0), score_model(1))
    agreed: list[bool] = []
    chosen_longer: list[bool] = []
    for item in rows:
        if len(item.chosen) == len(item.rejected):
            continue
        prompt = encode_prompt(tokenizer, item.prompt)
        with torch.no_grad():
            chosen, rejected = (
                float(
                    judges.helpfulness(torch.tensor([prompt + encode_answer(tokenizer, t)]))[0, -1]
                )
                for t in (item.chosen, item.rejected)
            )
        chosen_longer.append(len(item.chosen) > len(item.rejected))
        agreed.append((chosen > rejected) == chosen_longer[-1])
    count = len(agreed)
    assert 0 < count < 24
    assert 0 < sum(agreed) < count
    found = oracle_agreement("helpfulness", rows, judges, tokenizer, LengthOracle())
    annotators = sum(chosen_longer) / count
    assert found["n"] == count
    assert found["oracle_agreement"] == pytest.approx(sum(agreed) / count)
    assert (found["low"], found["high"]) == pytest.approx(wilson_interval(sum(agreed), count))
    assert found["annotator_agreement"] == pytest.approx(annotators)
    assert found["target"] == pytest.approx(0.5 + 0.9 * (annotators - 0.5))


def test_each_track_is_judged_by_its_own_model(tokenizer: Tokenizer) -> None:
    """A safety model with the opposite head agrees where the helpfulness model does not."""
    helpfulness, safety = score_model(0), score_model(0)
    with torch.no_grad():
        safety.score.weight.neg_()
    judges = RewardModels(helpfulness, safety)
    rows = [row(n, WORDS[n % 10] * 3, WORDS[(n + 1) % 10]) for n in range(12)]
    first = oracle_agreement("helpfulness", rows, judges, tokenizer, LengthOracle())
    second = oracle_agreement("safety", rows, judges, tokenizer, LengthOracle())
    assert first["oracle_agreement"] + second["oracle_agreement"] == pytest.approx(1.0)
    assert first["annotator_agreement"] == second["annotator_agreement"] == 1.0


def test_nothing_but_ties(tokenizer: Tokenizer) -> None:
    judges = RewardModels(score_model(0), score_model(1))
    found = oracle_agreement("safety", [row(0, "salt", "wool")], judges, tokenizer, LengthOracle())
    assert found["n"] == 0
    assert math.isnan(found["oracle_agreement"])
