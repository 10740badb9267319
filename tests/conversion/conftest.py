"""Small models of several families, each with a tokenizer of its kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from arriero.model.config import ModelConfig
from arriero.model.heads import LanguageModel
from arriero.model.weights import save_language_model
from arriero.tokenizer import load_tokenizer, train_tokenizer
from tests.tokenizer import families

WORDS = (
    "salt wool river road stone bread water letter valley mule 27 yes no please I'm niño".split()
)
TEXTS = [f"{' '.join(WORDS)} {n}\n{' '.join(WORDS[::-1])} {n * 37}!" for n in range(150)]

NewModel = Callable[..., Path]


def fill(folder: Path, *, dtype: torch.dtype = torch.float32, **shape: Any) -> Path:
    """Put a model of random weights to the tokenizer of a folder."""
    tokenizer = load_tokenizer(folder)
    sizes: dict[str, Any] = {
        "vocab_size": tokenizer.vocab_size,
        "dim": 64,
        "num_layers": 2,
        "num_heads": 4,
        "num_kv_heads": 2,
        "ffn_dim": 96,
        "context": 128,
    }
    model = LanguageModel.fresh(ModelConfig(**(sizes | shape)), seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:
                parameter.normal_(float(name.endswith("norm.weight")), 0.3, generator=generator)
    save_language_model(model.to(dtype), folder, tokenizer.special)
    return folder


@pytest.fixture(scope="session")
def llama2_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(TEXTS, folder / "own", 400)
    load_tokenizer(folder / "own").save(folder / "whole", model_max_length=128)
    return folder / "whole"


@pytest.fixture
def new_model(tmp_path: Path, llama2_tokenizer: Path) -> NewModel:
    """Makes a model folder of a family."""

    def new(family: str = "llama2", name: str = "model", **shape: Any) -> Path:
        folder = tmp_path / name
        if family == "llama2":
            load_tokenizer(llama2_tokenizer).save(folder, model_max_length=128)
        else:
            getattr(families, family)(folder, TEXTS)
        return fill(folder, **shape)

    return new
