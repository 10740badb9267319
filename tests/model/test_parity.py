"""The model is Llama: parity with transformers on random weights, shape by shape."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from arriero.data.packing import pack
from arriero.model.cache import KVCache
from arriero.model.config import ModelConfig
from arriero.model.heads import LanguageModel, ScoreModel, last_places
from arriero.model.weights import (
    load_language_model,
    load_score_model,
    save_language_model,
    save_score_model,
)
from arriero.records import LLAMA2_IDS

TINY: dict[str, Any] = {
    "vocab_size": 97,
    "dim": 32,
    "num_layers": 3,
    "num_heads": 4,
    "num_kv_heads": 4,
    "ffn_dim": 48,
    "context": 64,
}
LLAMA31 = {
    "rope_theta": 500_000.0,
    "rope_scaling": "llama3",
    "rope_factor": 8.0,
    "rope_original_context": 32,
    "num_kv_heads": 2,
    "context": 256,
}
# Heads, biases, ties and angles of the families, small.
SHAPES: dict[str, dict[str, Any]] = {
    "llama 2 7B: as many key heads": {},
    "multi-query": {"num_kv_heads": 1},
    "TinyLlama: 32/4 heads": {"dim": 128, "num_heads": 32, "context": 2048},
    "llama 2 70B: 64/8 heads": {"dim": 256, "num_heads": 64, "num_kv_heads": 8},
    "llama 1": {"norm_eps": 1e-6, "context": 2048},
    "llama 3": {"rope_theta": 500_000.0, "num_kv_heads": 2, "context": 8192},
    "llama 3.1": LLAMA31,
    "llama 3.2: tied": {**LLAMA31, "rope_factor": 32.0, "tie_embeddings": True},
    "SmolLM: 9/3 heads, tied": {
        "dim": 72,
        "num_heads": 9,
        "num_kv_heads": 3,
        "tie_embeddings": True,
        "rope_theta": 100_000.0,
    },
    "wider heads": {"head_width": 14, "num_kv_heads": 2},
    "narrower heads, tied": {"head_width": 2, "tie_embeddings": True},
    "biases": {"attention_bias": True, "mlp_bias": True, "num_kv_heads": 2},
    "linear scaling": {"rope_scaling": "linear", "rope_factor": 4.0},
}


def fresh(shape: dict[str, Any], seed: int = 1) -> LanguageModel:
    """A model whose norms and biases count too, and whose logits lie apart."""
    model = LanguageModel.fresh(ModelConfig(**(TINY | shape)), seed=seed).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:
                parameter.normal_(float(name.endswith("norm.weight")), 0.3, generator=generator)
        if model.config.tie_embeddings:
            model.lm_head.weight *= 10
    return model


def draw(num_rows: int, length: int, seed: int = 0) -> Tensor:
    return torch.randint(3, 97, (num_rows, length), generator=torch.Generator().manual_seed(seed))


def greedy(model: LanguageModel, prompt: list[int], count: int) -> list[int]:
    """The likeliest token, again and again, by whole passes."""
    ids = list(prompt)
    with torch.no_grad():
        for _ in range(count):
            ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
    return ids[len(prompt) :]


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_logits_and_greedy_tokens_equal_transformers(tmp_path: Path, shape: dict[str, Any]) -> None:
    ours = fresh(shape)
    save_language_model(ours, tmp_path, LLAMA2_IDS)
    theirs: Any = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert (theirs.lm_head.weight is theirs.model.embed_tokens.weight) is bool(
        shape.get("tie_embeddings")
    )
    tokens = draw(3, 60)
    with torch.no_grad():
        torch.testing.assert_close(ours(tokens), theirs(tokens).logits, atol=1e-4, rtol=0)
    prompt = [1, 5, 9, 33]
    expected = theirs.generate(
        torch.tensor([prompt]), max_new_tokens=20, do_sample=False, eos_token_id=[], pad_token_id=0
    )[0, len(prompt) :].tolist()
    assert greedy(ours, prompt, 20) == expected


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_bfloat16_is_as_near_to_float32_as_that_of_transformers(
    tmp_path: Path, shape: dict[str, Any]
) -> None:
    """bfloat16 has 8 bits: both round after every step, and not at the same steps. So both are
    measured by the distance from float32, and ours may be no more than a quarter larger."""
    ours = fresh(shape)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.copy_(parameter.bfloat16())
    save_language_model(ours, tmp_path, LLAMA2_IDS)
    theirs: Any = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.bfloat16).eval()
    tokens = draw(4, 60)
    with torch.no_grad():
        exact = ours(tokens)
        rough = load_language_model(tmp_path, dtype=torch.bfloat16)(tokens)
        assert rough.dtype == torch.bfloat16
        our_error = float((rough.float() - exact).square().mean().sqrt())
        their_error = float((theirs(tokens).logits.float() - exact).square().mean().sqrt())
    assert 0 < our_error < 1.25 * their_error
    assert our_error < 0.03 * float(exact.std())


@pytest.mark.parametrize("shape", [{}, {"num_kv_heads": 1}, LLAMA31], ids=str)
def test_positions_up_to_4096(tmp_path: Path, shape: dict[str, Any]) -> None:
    ours = fresh({**shape, "context": 4096, "dim": 16, "ffn_dim": 16, "num_layers": 2})
    save_language_model(ours, tmp_path, LLAMA2_IDS)
    theirs: Any = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    tokens = draw(1, 4096)
    with torch.no_grad():
        got, expected = ours(tokens), theirs(tokens).logits
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=0)
    assert bool((got.argmax(-1) == expected.argmax(-1)).all())


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_weights_round_trip_bit_equal(tmp_path: Path, shape: dict[str, Any]) -> None:
    ours = fresh(shape, seed=3)
    save_language_model(ours, tmp_path, LLAMA2_IDS)
    again = load_language_model(tmp_path)
    assert again.config == ours.config
    for name, tensor in ours.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


@pytest.mark.parametrize("name", ["llama 2 7B: as many key heads", "llama 3.2: tied", "biases"])
def test_reward_score_equals_transformers_alone_and_padded(tmp_path: Path, name: str) -> None:
    model = ScoreModel.from_language_model(fresh(SHAPES[name], seed=4), seed=5).eval()
    save_score_model(model, tmp_path, LLAMA2_IDS)
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    rows = [draw(1, n, seed=n)[0].tolist() for n in (5, 17, 30, 9)]
    lengths = torch.tensor([len(row) for row in rows])
    padded = torch.zeros(4, 30, dtype=torch.int64)
    for index, row in enumerate(rows):
        padded[index, : len(row)] = torch.tensor(row)
    with torch.no_grad():
        expected = theirs(padded, attention_mask=(padded != 0).long()).logits.squeeze(1)
        alone = torch.cat([model(torch.tensor([row]))[:, -1] for row in rows])
        together = model(padded, wanted=last_places(lengths, 30))
        packed = pack(rows, row_length=40)
        in_rows = model(packed.tokens, positions=packed.positions, segments=packed.segments)
        in_rows = in_rows.flatten()[packed.last]
    for got in (alone, together, in_rows):
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-4)
    again = load_score_model(tmp_path)
    assert torch.equal(again.score.weight, model.score.weight)


def test_cache_equals_one_pass_for_ragged_rows() -> None:
    model = fresh({"num_kv_heads": 2}, seed=6)
    tokens = draw(3, 20, seed=2)
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
    model = fresh({"num_layers": 2, "context": 4096}, seed=7)
    tokens = draw(1, 4, seed=3)
    positions = torch.tensor([[4000, 4001, 4002, 4003]])
    with torch.no_grad():
        exact = model(tokens, positions=positions)
        rough = model.bfloat16()(tokens, positions=positions).float()
    assert float((exact - rough).abs().max()) < 0.1
