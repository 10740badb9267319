"""Compiled blocks compute what they do without."""

from __future__ import annotations

import pytest
import torch

from arriero.model.config import ModelConfig
from arriero.model.heads import LanguageModel
from arriero.training.parallel import distribute
from arriero.training.ranks import Ranks

CONFIG = ModelConfig(
    vocab_size=50, dim=32, num_layers=2, num_heads=4, num_kv_heads=2, ffn_dim=48, context=32
)


# What PyTorch says of its own modules as it compiles.
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")
@pytest.mark.slow
def test_compiled_blocks() -> None:
    tokens = torch.randint(50, (3, 20), generator=torch.Generator().manual_seed(1))
    segments = torch.arange(20).expand(3, 20) // 7
    found: list[list[torch.Tensor]] = []
    for compiled in (False, True):
        model = LanguageModel.fresh(CONFIG, 0)
        blocks = list(model.model.layers)
        distribute(model, blocks, Ranks(recompute=True, compile=compiled), "float32")
        assert all((b._compiled_call_impl is not None) == compiled for b in blocks)
        logits = model(tokens, segments=segments)
        logits.square().mean().backward()
        found.append([logits.detach(), *(p.grad for p in model.parameters() if p.grad is not None)])
    assert len(found[0]) == len(found[1]) > 10
    for plain, compiled_ in zip(*found, strict=True):
        torch.testing.assert_close(compiled_, plain, atol=1e-5, rtol=1e-4)
