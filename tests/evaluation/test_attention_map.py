"""The strongest attention, against transformers' own weights; and its bins by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers

from arriero.evaluation.attention_map import binned, strongest_attention
from arriero.model.attention import Attention
from arriero.model.config import ModelConfig
from arriero.model.heads import LanguageModel
from arriero.model.weights import save_language_model
from arriero.records.special_ids import LLAMA2_IDS


@pytest.mark.parametrize("num_kv_heads", [4, 2, 1])
def test_the_largest_weight_of_all_layers_and_heads(tmp_path: Path, num_kv_heads: int) -> None:
    config = ModelConfig(
        vocab_size=64, dim=32, num_layers=3, num_heads=4, num_kv_heads=num_kv_heads, ffn_dim=48,
        context=64,
    )  # fmt: skip
    model = LanguageModel.fresh(config, 3)
    with torch.no_grad():  # far from uniform, so that layers and heads differ
        for module in model.modules():
            if isinstance(module, Attention):
                module.q_proj.weight.mul_(4)
    save_language_model(model, tmp_path, LLAMA2_IDS)
    other = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path, attn_implementation="eager", torch_dtype=torch.float32
    )
    ids = torch.randint(3, 64, (1, 17), generator=torch.Generator().manual_seed(0))
    attentions = other(ids, output_attentions=True).attentions
    expected = torch.stack([each[0].amax(0) for each in attentions]).amax(0)
    found = strongest_attention(model, ids[0].tolist())
    assert torch.allclose(found, expected, atol=1e-5)
    assert torch.equal(found, found.tril())
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_bins_hold_the_largest_of_neighbouring_tokens() -> None:
    weights = torch.tensor([[1.0, 0.0, 0.0], [0.3, 0.7, 0.0], [0.1, 0.2, 0.7]])
    assert torch.equal(binned(weights, 2), torch.tensor([[1.0, 0.0], [0.2, 0.7]]))
    assert torch.equal(binned(weights, 1), weights)
    assert binned(weights, 5).tolist() == [[1.0]]
