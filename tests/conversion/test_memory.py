"""A conversion holds a tensor at a time, whatever the size of the model."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import torch

from arriero.model.config import ModelConfig
from arriero.model.heads import LanguageModel
from arriero.model.weights import save_language_model
from arriero.records import LLAMA2_IDS


def write(folder: Path, num_layers: int) -> int:
    config = ModelConfig(
        vocab_size=320,
        dim=512,
        num_layers=num_layers,
        num_heads=8,
        num_kv_heads=2,
        ffn_dim=4096,
        context=4096,
    )
    with torch.device("meta"):
        model = LanguageModel(config).bfloat16()
    model = model.to_empty(device="cpu")
    for number, parameter in enumerate(model.parameters()):
        parameter.detach().fill_(number / 7)
    save_language_model(model, folder, LLAMA2_IDS)
    return sum(parameter.nbytes for parameter in model.parameters())


def peak(source: Path, target: Path, *options: str) -> int:
    command = [sys.executable, "-m", "arriero.cli", "convert", str(source), str(target), *options]
    child = os.posix_spawn(command[0], command, os.environ)
    _, status, usage = os.wait4(child, 0)
    assert status == 0
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@pytest.mark.slow
def test_twelve_times_the_layers_take_no_more_memory(tmp_path: Path) -> None:
    small = write(tmp_path / "small", 1)
    large = write(tmp_path / "large", 12)
    assert large > 160_000_000 > 10 * small > 0
    for to in (("hugging-face", "--max-shard-size", "50MB"), ("meta", "--shards", "2")):
        peaks = [
            peak(tmp_path / name, tmp_path / f"{name}-{to[0]}", "--to", *to)
            for name in ("small", "large")
        ]
        assert peaks[1] - peaks[0] < 0.15 * large, to
    back = [
        peak(tmp_path / f"{name}-meta", tmp_path / f"{name}-back", "--to", "hugging-face")
        for name in ("small", "large")
    ]
    assert back[1] - back[0] < 0.15 * large
