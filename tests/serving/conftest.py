"""A tiny tokenizer, a model folder, a server that all quick tests share."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import OpenAI

from arriero.model.weights import save_language_model
from arriero.tokenizer import Tokenizer, load_tokenizer, train_tokenizer
from tests.serving.running import NAME, Running, running, tiny_engine, tiny_model

WORDS = "the llama walks over pass and river a mule sold wool in [INST] SYS </s> niño 山 24".split()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder."""
    path = tmp_path_factory.mktemp("served") / NAME
    path.mkdir()
    rng = random.Random(3)
    train_tokenizer([" ".join(rng.choices(WORDS, k=30)) for _ in range(200)], path, 360)
    tokenizer = load_tokenizer(path)
    tokenizer.save(path, model_max_length=256)
    save_language_model(tiny_model(tokenizer.vocab_size), path, tokenizer.special)
    return path


@pytest.fixture(scope="session")
def tokenizer(folder: Path) -> Tokenizer:
    return load_tokenizer(folder)


@pytest.fixture(scope="session")
def server(tokenizer: Tokenizer) -> Iterator[Running]:
    with running(tiny_engine(tokenizer), tokenizer) as found:
        yield found


@pytest.fixture(scope="session")
def client(server: Running) -> Iterator[OpenAI]:
    """OpenAI's own client; it tries nothing twice."""
    with OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as found:
        yield found
