"""A tokenizer and reward model folders so small that they load in no time."""

from __future__ import annotations

from pathlib import Path

import pytest

from arriero.model.config import ModelConfig
from arriero.model.heads import LanguageModel, ScoreModel
from arriero.model.weights import save_language_model, save_score_model
from arriero.records import Message, Preference, Rating
from arriero.tokenizer import Tokenizer, load_tokenizer, train_tokenizer

WORDS = "salt wool river road stone bread water letter valley mule".split()
CONTEXT = 96


@pytest.fixture(scope="session")
def small_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer([f"{' '.join(WORDS)} A B [INST] {n}" for n in range(100)], folder, 300)
    return load_tokenizer(folder)


def config(tokenizer: Tokenizer) -> ModelConfig:
    return ModelConfig(
        vocab_size=tokenizer.vocab_size,
        dim=16,
        num_layers=1,
        num_heads=2,
        num_kv_heads=2,
        ffn_dim=24,
        context=CONTEXT,
    )


@pytest.fixture(scope="session")
def reward_folder(tmp_path_factory: pytest.TempPathFactory, small_tokenizer: Tokenizer) -> Path:
    folder = tmp_path_factory.mktemp("reward") / "judge" / "model"
    folder.mkdir(parents=True)
    language = LanguageModel.fresh(config(small_tokenizer), 0)
    model = ScoreModel.from_language_model(language, 1)
    model.score.weight.data *= 30  # so that scores differ visibly
    save_score_model(model, folder, small_tokenizer.special)
    small_tokenizer.save(folder, model_max_length=CONTEXT)
    return folder


@pytest.fixture(scope="session")
def chat_folder(tmp_path_factory: pytest.TempPathFactory, small_tokenizer: Tokenizer) -> Path:
    folder = tmp_path_factory.mktemp("chat")
    wide = config(small_tokenizer).model_copy(update={"context": 1024})
    save_language_model(LanguageModel.fresh(wide, 2), folder, small_tokenizer.special)
    small_tokenizer.save(folder, model_max_length=1024)
    return folder


def pair(
    number: int = 0, chosen: str = "salt", rejected: str = "wool", **tags: object
) -> Preference:
    prompt = (Message("user", f"{WORDS[number % 10]} {number}?"),)
    return Preference(prompt, chosen, rejected, **tags)  # type: ignore[arg-type]


@pytest.fixture
def pairs() -> list[Preference]:
    """Forty pairs of all ratings, some with labels."""
    return [
        pair(
            number,
            WORDS[number % 7] * (1 + number % 3),
            WORDS[(number + 3) % 10] * (1 + number % 2),
            rating=list(Rating)[number % 4],
            chosen_is_safe=number % 5 > 0,
            rejected_is_safe=number % 2 > 0,
        )
        for number in range(40)
    ]
