"""Which weights a model has, under Hugging Face's names, and whether they are all there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from arriero.model.config import ModelConfig
from arriero.model.weights.lazy import LazyTensor
from arriero.records import UserError

Head = Literal["language", "score"]
"""What stands on the decoder: next-token logits, or one score."""

Shape = tuple[int, ...]

EMBEDDING = "model.embed_tokens.weight"
OUTPUT = "lm_head.weight"
SCORE = "score.weight"

# Tables of rotary angles that old checkpoints carry along; they follow from the configuration.
_IGNORED = re.compile(r"(model\.layers\.\d+\.self_attn\.|model\.)rotary_emb\.inv_freq")


def weight_shapes(config: ModelConfig, head: Head) -> Iterator[tuple[str, Shape]]:
    """Name and shape of every weight that a checkpoint holds, in the order of the network.

    An output matrix that is the embedding is not in it.
    """
    yield EMBEDDING, (config.vocab_size, config.dim)
    for layer in range(config.num_layers):
        for name, shape in _block_shapes(config):
            yield f"model.layers.{layer}.{name}", shape
    yield "model.norm.weight", (config.dim,)
    if head == "score":
        yield SCORE, (1, config.dim)
    elif not config.tie_embeddings:
        yield OUTPUT, (config.vocab_size, config.dim)


def _block_shapes(config: ModelConfig) -> Iterator[tuple[str, Shape]]:
    projections = (
        ("self_attn.q_proj", config.query_dim, config.dim, config.attention_bias),
        ("self_attn.k_proj", config.kv_dim, config.dim, config.attention_bias),
        ("self_attn.v_proj", config.kv_dim, config.dim, config.attention_bias),
        ("self_attn.o_proj", config.dim, config.query_dim, config.attention_bias),
        ("mlp.gate_proj", config.ffn_dim, config.dim, config.mlp_bias),
        ("mlp.up_proj", config.ffn_dim, config.dim, config.mlp_bias),
        ("mlp.down_proj", config.dim, config.ffn_dim, config.mlp_bias),
    )
    yield "input_layernorm.weight", (config.dim,)
    for name, num_rows, num_columns, has_bias in projections:
        yield f"{name}.weight", (num_rows, num_columns)
        if has_bias:
            yield f"{name}.bias", (num_rows,)
    yield "post_attention_layernorm.weight", (config.dim,)


def check_weights(
    tensors: Mapping[str, LazyTensor], config: ModelConfig, head: Head, source: Path
) -> dict[str, LazyTensor]:
    """The weights of a model in the order of the network.

    Raises:
        UserError: one is missing, has another shape than the configuration says, or is left over.
    """
    found: dict[str, LazyTensor] = {}
    # Stops at the first that is missing: a configuration may claim any number of layers.
    for name, shape in weight_shapes(config, head):
        if name not in tensors:
            raise UserError(f"{source}: the weights lack {name}")
        if tensors[name].shape != shape:
            raise UserError(
                f"{source}: {name} has shape {list(tensors[name].shape)}, "
                f"its configuration says {list(shape)}"
            )
        found[name] = tensors[name]
    left = sorted(name for name in tensors.keys() - found.keys() if not _IGNORED.fullmatch(name))
    if config.tie_embeddings and OUTPUT in left:
        left.remove(OUTPUT)
    if left:
        raise UserError(
            f"{source}: the weights hold {left[0]}, which is no part of this model "
            f"({len(left)} such in all)"
        )
    return found
