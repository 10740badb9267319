"""A tokenizer, a chat model and two reward models, all too small to know anything."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from arriero.data.packing import pack
from arriero.model.config import ModelConfig
from arriero.model.heads import LanguageModel, ScoreModel
from arriero.model.weights import save_language_model, save_score_model
from arriero.records import Dialog, Message
from arriero.stages.token_loss import packed_loss_sum
from arriero.stages.workspace import Workspace
from arriero.tokenizer import Tokenizer, load_tokenizer, train_tokenizer
from arriero.tokenizer.chat import encode_dialogs

NewWorkspace = Callable[..., Workspace]

WORDS = "salt wool river road stone bread water letter valley mule yes no please thanks".split()
VOCAB = 320
CONFIG = ModelConfig(
    vocab_size=VOCAB, dim=16, num_layers=1, num_heads=2, num_kv_heads=1, ffn_dim=32, context=64
)


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    texts = [f"[INST] {' '.join(WORDS)} {n} [/INST] {' '.join(WORDS[::-1])} " for n in range(100)]
    train_tokenizer(texts, folder, VOCAB)
    return load_tokenizer(folder)


@pytest.fixture(scope="session")
def chat_folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer) -> Path:
    """A language model with its tokenizer; it has learned to end, its words are random."""
    folder = tmp_path_factory.mktemp("chat")
    model = LanguageModel.fresh(CONFIG, seed=1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    draw = random.Random(1)
    for _ in range(25):
        dialogs = [
            Dialog((Message("user", draw.choice(WORDS)),)).answered(
                " ".join(draw.choices(WORDS, k=draw.randint(1, 4)))
            )
            for _ in range(32)
        ]
        items = encode_dialogs(tokenizer, dialogs)
        batch = pack([item.ids for item in items], [item.loss_mask for item in items])
        (packed_loss_sum(model, batch, torch.device("cpu")) / batch.num_targets).backward()
        optimizer.step()
        optimizer.zero_grad()
    save_language_model(model, folder, tokenizer.special)
    tokenizer.save(folder, model_max_length=64)
    return folder


@pytest.fixture(scope="session")
def reward_folders(
    tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer
) -> tuple[Path, Path]:
    """Two reward models whose scores lie some units apart."""
    folders = (tmp_path_factory.mktemp("helpfulness"), tmp_path_factory.mktemp("safety"))
    for seed, folder in enumerate(folders):
        model = ScoreModel.from_language_model(LanguageModel.fresh(CONFIG, seed + 2), seed)
        with torch.no_grad():
            model.score.weight.mul_(20)
        save_score_model(model, folder, tokenizer.special)
        tokenizer.save(folder, model_max_length=64)
    return folders


@pytest.fixture
def workspace(tmp_path: Path) -> NewWorkspace:
    """Makes workspaces, each in a folder of its own."""

    def new(name: str = "stage", seed: int = 0) -> Workspace:
        folder = tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
        return Workspace(folder, seed, torch.device("cpu"), lambda line: None)

    return new


def results(space: Workspace) -> dict[str, Any]:
    return json.loads((space.folder / "results.json").read_text())


def metrics(space: Workspace) -> list[dict[str, Any]]:
    return [json.loads(line) for line in space.metrics.read_text().splitlines()]


def learned(space: Workspace) -> list[dict[str, Any]]:
    """The metrics without those of the clock and the machine, which no two runs share."""
    of_the_machine = ("memory_gb", "memory_peak_gb", "energy_wh", "co2_g", "generation_share")
    return [
        {k: v for k, v in line.items() if k not in of_the_machine and not k.endswith("_s")}
        for line in metrics(space)
    ]


def same_weights(a: Path, b: Path) -> bool:
    return (a / "model.safetensors").read_bytes() == (b / "model.safetensors").read_bytes()
