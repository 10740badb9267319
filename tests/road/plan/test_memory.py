"""Bytes by hand, against real models, and against what autograd really keeps."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import Tensor

from arriero.model.cache import KVCache
from arriero.model.config import LLAMA2_7B, ModelConfig
from arriero.model.heads import LanguageModel, ScoreModel
from arriero.model.transformer import Transformer
from arriero.road.plan.layout import Layout
from arriero.road.plan.memory import (
    Parts,
    Precision,
    activations,
    answer_logits,
    loss_logits,
    own_parameters,
    peak,
    sampler_cache,
    together,
    training_step,
)

CPU = Layout(1, is_gpu=False)
SHAPES = {
    "all heads": ModelConfig(
        vocab_size=100, dim=64, num_layers=3, num_heads=4, num_kv_heads=4, ffn_dim=176, context=64
    ),
    "grouped": ModelConfig(
        vocab_size=50, dim=96, num_layers=2, num_heads=6, num_kv_heads=2, ffn_dim=80, context=64
    ),
}


def kept_bytes(model: Transformer, rows: int, length: int) -> int:
    """What the graph of a forward pass holds, parameters and their copies apart."""
    shapes = {tuple(p.shape) for p in model.parameters()}
    shapes |= {shape[::-1] for shape in shapes}
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    seen: dict[int, tuple[int, Tensor]] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own and tuple(tensor.shape) not in shapes:
            seen[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    tokens = torch.zeros(rows, length, dtype=torch.int64)
    positions = torch.arange(length).expand(rows, length)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(tokens, positions=positions, segments=torch.zeros_like(tokens))
    return sum(size for size, _ in seen.values())


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("kind", ["float32", "autocast", "bfloat16"])
def test_activations_are_what_autograd_keeps(name: str, kind: str) -> None:
    """On a CPU to the byte: in float32, under autocast, and in FSDP's bfloat16."""
    config, rows, length = SHAPES[name], 3, 31
    model = LanguageModel.fresh(config, 0).model
    precision: Precision = "float32" if kind == "float32" else "bfloat16"
    layout = CPU
    if kind == "bfloat16":
        model, layout = model.to(torch.bfloat16), Layout(2, is_gpu=False)
    narrow = torch.autocast("cpu", torch.bfloat16) if kind == "autocast" else nullcontext()
    with narrow:
        measured = kept_bytes(model, rows, length)
    planned = activations(config, layout, precision, rows * length, length)
    assert planned == pytest.approx(measured, rel=0.01)


@pytest.mark.parametrize("recompute", [False, True])
def test_activations_grow_with_layers_and_tokens(recompute: bool) -> None:
    layout = Layout(2, recompute=recompute)
    config = SHAPES["all heads"]
    few, twice = (activations(config, layout, "float32", n, 16) for n in (128, 256))
    assert twice == 2 * few
    deeper = config.model_copy(update={"num_layers": 6})
    assert activations(deeper, layout, "float32", 128, 16) > few


def test_recomputation_keeps_a_blocks_input() -> None:
    """7B in bfloat16: 32 layers of 4,096 numbers of 2 bytes a token, and one block as a whole."""
    kept = activations(LLAMA2_7B, Layout(8, recompute=True), "bfloat16", 1, 4096)
    whole = activations(LLAMA2_7B, Layout(8), "bfloat16", 1, 4096)
    inputs = 32 * 4096 * 2
    rest = 8 * 4096 + 16 + 4 * 128
    block = (whole - rest) / 32
    assert kept == pytest.approx(inputs + block + rest)


def test_tensor_parallelism_divides_what_is_wide() -> None:
    """Residual stream and mask stay whole on each rank."""
    one, eight = (activations(LLAMA2_7B, Layout(8, t), "bfloat16", 1, 4096) for t in (1, 8))
    wide = 32 * (2 * (3 * 4096 + 2 * 4096) + 4 * 32 + 4 * 2 * 11_008)
    assert one - eight == pytest.approx(wide * 7 / 8)


@pytest.mark.parametrize("tensor", [1, 2])
@pytest.mark.parametrize("head", [True, False])
def test_own_parameters_against_a_model(tensor: int, head: bool) -> None:
    """Every matrix of a block is divided over all ranks, everything else over the rows' ranks."""
    config = SHAPES["grouped"]
    with torch.device("meta"):
        model = LanguageModel(config) if head else ScoreModel(config)
    devices = 4
    expected = sum(
        p.numel() / (devices if "proj" in name else devices / tensor)
        for name, p in model.named_parameters()
        if not name.startswith("score")
    )
    assert own_parameters(config, Layout(devices, tensor), head=head) == expected


def test_weights_of_7b_by_hand() -> None:
    """On one device 4 bytes a weight; gathered in bfloat16: two blocks, embedding, output."""
    assert own_parameters(LLAMA2_7B, CPU, head=True) == 6_738_415_616
    block = 4 * 4096 * 4096 + 3 * 4096 * 11_008 + 2 * 4096
    gathered = together(LLAMA2_7B, Layout(8), "bfloat16", head=True)
    assert gathered == 2 * (2 * block + 2 * 32_000 * 4096 + 4096)
    assert together(LLAMA2_7B, CPU, "float32", head=True) == 0


def test_loss_of_7b_by_hand() -> None:
    """4,096 tokens: 2 x 524 MB of logits, 786 MB for the matrix, 67 MB of hidden states.

    On a CPU the logits are there once, in their own type.
    """
    logits, matrix, hidden = 2 * 4 * 4096 * 32_000, 6 * 32_000 * 4096, 2 * 2 * 4096 * 4096
    assert loss_logits(LLAMA2_7B, Layout(1), "bfloat16", 4096) == logits + matrix + hidden
    assert loss_logits(LLAMA2_7B, CPU, "bfloat16", 4096) == logits / 4 + matrix + hidden
    # A chunk bounds the logits; only hidden states grow further.
    more = loss_logits(LLAMA2_7B, Layout(1), "bfloat16", 8192)
    assert more == logits + matrix + 2 * hidden


def test_cache_is_the_caches() -> None:
    config = SHAPES["grouped"]
    cache = KVCache(config, num_rows=5, num_slots=17)
    size = cache.keys.nbytes + cache.values.nbytes
    assert sampler_cache(config, CPU, 5, 17) == size
    assert sampler_cache(config, Layout(2, 2), 5, 17) == size / 2


def test_answers_logits() -> None:
    """Once over: the logits turn into their slopes where they are."""
    model = SHAPES["all heads"]
    assert model.vocab_size == 100
    assert answer_logits(model, 10) == 4 * (10 * 100 + (100 + 2 * 10) * model.dim)


def test_optimizer_and_gradients_take_three_times_the_weights() -> None:
    """16 bytes a parameter in all, where gradients of earlier micro-batches are there."""
    config = SHAPES["all heads"]
    count = config.num_parameters
    parts = training_step(
        config,
        CPU,
        "float32",
        trained=count,
        num_tokens=64,
        row_length=32,
        accumulates=True,
    )
    assert (parts.weights, parts.gradients, parts.optimizer) == (4 * count, 4 * count, 8 * count)


def test_without_accumulation_gradients_come_after_the_activations() -> None:
    config = SHAPES["all heads"]
    once, many = (
        training_step(
            config,
            CPU,
            "float32",
            trained=config.num_parameters,
            num_tokens=4096,
            row_length=32,
            accumulates=accumulates,
        )
        for accumulates in (False, True)
    )
    assert once.gradients == 0
    assert once.total - once.holes == many.total - many.holes - many.gradients


def test_parts_add_up() -> None:
    parts = Parts(weights=1, cache=2) + Parts(weights=10, logits=3)
    assert parts == Parts(weights=11, logits=3, cache=2)
    assert parts.total == 16
    assert peak([Parts(weights=1), parts, Parts(cache=9)]) == parts
