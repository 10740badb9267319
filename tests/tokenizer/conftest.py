"""A small tokenizer, trained once, and its model folder; and those of other families."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from sentencepiece import SentencePieceProcessor

from arriero.tokenizer import Tokenizer, load_tokenizer, train_tokenizer
from tests.tokenizer import families

WORDS = (
    "the llama carries salt over pass and river a mule walks behind it who sold wool in market "
    "of Tilca yesterday is not here water stone bread letters an old road leads down to valley "
    "INST SYS INSTALL system </s> [INST] <<SYS>> I'm can't Quechua für niño naïve 山 道"
).split()


def corpus() -> list[str]:
    """400 documents of words, numbers, indentation, rules and lists."""
    rng = random.Random(7)
    documents: list[str] = []
    for number in range(400):
        words = [rng.choice(WORDS) for _ in range(rng.randrange(5, 60))]
        words.insert(
            rng.randrange(len(words)), rng.choice(["----", "======", "...", "    x", "!!"])
        )
        documents.append(" ".join(words) + f"\n\n  - {number * 37} items\n\tend.")
    return documents


@pytest.fixture(scope="session")
def documents() -> list[str]:
    return corpus()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, documents: list[str]) -> Path:
    """A model folder with the tokenizer's files and a config of the Llama architecture."""
    path = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(documents, path, 500)
    load_tokenizer(path).save(path, model_max_length=512)
    (path / "config.json").write_text('{"model_type": "llama", "vocab_size": 500}')
    return path


@pytest.fixture(scope="session")
def processor(folder: Path) -> SentencePieceProcessor:
    return SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))


@pytest.fixture(scope="session")
def tokenizer(folder: Path) -> Tokenizer:
    return load_tokenizer(folder)


@pytest.fixture(scope="session")
def llama3_folder(tmp_path_factory: pytest.TempPathFactory, documents: list[str]) -> Path:
    return families.llama3(tmp_path_factory.mktemp("llama3"), documents)


@pytest.fixture(scope="session")
def smollm_folder(tmp_path_factory: pytest.TempPathFactory, documents: list[str]) -> Path:
    return families.smollm(tmp_path_factory.mktemp("smollm"), documents)


@pytest.fixture(scope="session")
def metaspace_folder(tmp_path_factory: pytest.TempPathFactory, documents: list[str]) -> Path:
    return families.metaspace(tmp_path_factory.mktemp("metaspace"), documents)


@pytest.fixture(scope="session", params=["llama3", "smollm", "metaspace"])
def family_folder(request: pytest.FixtureRequest) -> Path:
    """Each family in turn."""
    return request.getfixturevalue(f"{request.param}_folder")


@pytest.fixture(scope="session")
def family(family_folder: Path) -> Tokenizer:
    return load_tokenizer(family_folder)
