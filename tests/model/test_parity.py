"""The model is Llama: parity with transformers on random weights, in every path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from arriero.data.packing import pack
from arriero.inference.generate import Sampling, generate
from arriero.model.cache import KVCache
from arriero.model.config import ModelConfig
from arriero.model.heads import LanguageModel, ScoreModel, last_token_scores
from arriero.model.weights import (
    load_language_model,
    load_score_model,
    save_language_model,
    save_score_model,
)


def config(num_heads: int = 4, num_kv_heads: int = 4, **more: int) -> ModelConfig:
    return ModelConfig(
        vocab_size=97,
        dim=16 * num_heads // 2,
        num_layers=3,
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        ffn_dim=48,
        context=64,
        **more,
    )


HEADS = [(4, 4), (4, 1), (32, 4), (64, 8)]


@pytest.mark.parametrize(("num_heads", "num_kv_heads"), HEADS)
def test_logits_equal_transformers(tmp_path: Path, num_heads: int, num_kv_heads: int) -> None:
    ours = LanguageModel.fresh(config(num_heads, num_kv_heads), seed=1).eval()
    save_language_model(ours, tmp_path)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    tokens = torch.randint(3, 97, (3, 40), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(ours(tokens), theirs(tokens).logits, atol=1e-5, rtol=1e-4)


def test_greedy_tokens_equal_transformers(tmp_path: Path) -> None:
    ours = LanguageModel.fresh(config(), seed=2).eval()
    save_language_model(ours, tmp_path)
    theirs: Any = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    prompt = [1, 5, 9, 33]
    got = generate(ours, [prompt], Sampling(temperature=0, max_new_tokens=20), seed=0)[0][0]
    expected = theirs.generate(
        torch.tensor([prompt]), max_new_tokens=20, do_sample=False, eos_token_id=2, pad_token_id=0
    )[0, len(prompt) :].tolist()
    assert got.tokens == expected


def test_weights_round_trip_bit_equal(tmp_path: Path) -> None:
    ours = LanguageModel.fresh(config(4, 2), seed=3)
    save_language_model(ours, tmp_path)
    again = load_language_model(tmp_path)
    for name, tensor in ours.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_reward_score_equals_transformers_alone_and_padded(tmp_path: Path) -> None:
    model = ScoreModel.from_language_model(LanguageModel.fresh(config(4, 2), seed=4), seed=5).eval()
    save_score_model(model, tmp_path)
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    generator = torch.Generator().manual_seed(1)
    rows = [torch.randint(3, 97, (n,), generator=generator).tolist() for n in (5, 17, 30, 9)]
    lengths = torch.tensor([len(row) for row in rows])
    padded = torch.zeros(4, 30, dtype=torch.int64)
    for index, row in enumerate(rows):
        padded[index, : len(row)] = torch.tensor(row)
    with torch.no_grad():
        expected = theirs(padded, attention_mask=(padded != 0).long()).logits.squeeze(1)
        alone = torch.cat([model(torch.tensor([row]))[:, -1] for row in rows])
        together = last_token_scores(model(padded), lengths)
        packed = pack(rows, row_length=40)
        in_rows = model(packed.tokens, positions=packed.positions, segments=packed.segments)
        in_rows = in_rows.flatten()[packed.last]
    for got in (alone, together, in_rows):
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-4)
    again = load_score_model(tmp_path)
    assert torch.equal(again.score.weight, model.score.weight)


def test_cache_equals_one_pass_for_ragged_rows() -> None:
    model = LanguageModel.fresh(config(4, 2), seed=6).eval()
    tokens = torch.randint(3, 97, (3, 20), generator=torch.Generator().manual_seed(2))
    lengths = torch.tensor([4, 9, 15])
    cache = KVCache(model.config, 3, 20)
    with torch.no_grad():
        whole = model(tokens)
        prefilled = model(tokens[:, :15], cache=cache, num_slots=15)
        for row, length in enumerate(lengths.tolist()):
            torch.testing.assert_close(
                prefilled[row, :length], whole[row, :length], atol=1e-5, rtol=1e-4
            )
        # Each row goes on from its own length; slots of the padding are written over.
        for step in range(5):
            at = lengths + step
            next_tokens = tokens.gather(1, at[:, None])
            logits = model(next_tokens, positions=at[:, None], cache=cache)[:, 0]
            expected = whole[torch.arange(3), at]
            torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-4)


def test_bfloat16_keeps_float32_angles() -> None:
    """Rounded positions would make far tokens collide; ours stay near float32."""
    model = LanguageModel.fresh(ModelConfig(
        vocab_size=97, dim=32, num_layers=2, num_heads=4, num_kv_heads=4, ffn_dim=48, context=4096
    ), seed=7).eval()  # fmt: skip
    tokens = torch.randint(3, 97, (1, 4), generator=torch.Generator().manual_seed(3))
    positions = torch.tensor([[4000, 4001, 4002, 4003]])
    with torch.no_grad():
        exact = model(tokens, positions=positions)
        rough = model.bfloat16()(tokens, positions=positions).float()
    assert float((exact - rough).abs().max()) < 0.05
