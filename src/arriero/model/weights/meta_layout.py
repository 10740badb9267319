"""How Meta's layout differs from ours: names, the rows of queries and keys, the cut over ranks.

Meta's rotary embeddings turn neighbours (0, 1), (2, 3), ... of a head, ours its halves; so the rows
of query and key matrices stand in another order, head by head, keys by their own number of heads.
Matrices that widen are cut by rows, those that lead back by columns, the embedding by columns
(Llama 1 and 2) or by rows (Llama 3).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor

from arriero.model.config import ModelConfig
from arriero.model.weights.lazy import LazyTensor
from arriero.model.weights.shapes import EMBEDDING, OUTPUT

_OUTSIDE = {
    EMBEDDING: "tok_embeddings.weight",
    "model.norm.weight": "norm.weight",
    OUTPUT: "output.weight",
}
_IN_BLOCK = {
    "input_layernorm.weight": "attention_norm.weight",
    "self_attn.q_proj.weight": "attention.wq.weight",
    "self_attn.k_proj.weight": "attention.wk.weight",
    "self_attn.v_proj.weight": "attention.wv.weight",
    "self_attn.o_proj.weight": "attention.wo.weight",
    "mlp.gate_proj.weight": "feed_forward.w1.weight",
    "mlp.up_proj.weight": "feed_forward.w3.weight",
    "mlp.down_proj.weight": "feed_forward.w2.weight",
    "post_attention_layernorm.weight": "ffn_norm.weight",
}
_LLAMA3_THETA = 500_000


def meta_name(name: str) -> str:
    """Meta's name of a weight from ours."""
    if name in _OUTSIDE:
        return _OUTSIDE[name]
    _, _, layer, inner = name.split(".", 3)
    return f"layers.{layer}.{_IN_BLOCK[inner]}"


def cut_dimension(name: str, *, embedding: int) -> int | None:
    """The dimension along which a weight is cut over ranks; None if each has the whole of it.

    Args:
        name: ours.
        embedding: the answer for the embedding, where families differ.
    """
    if name.endswith("norm.weight"):
        return None
    if name == EMBEDDING:
        return embedding
    return 1 if re.search(r"\.(o_proj|down_proj)\.", name) else 0


def embedding_cut(config: ModelConfig) -> int:
    """Along which dimension this family cuts its embedding: Llama 3 its large vocabulary."""
    return 0 if config.rope_theta >= _LLAMA3_THETA else 1


def turned_heads(name: str, config: ModelConfig) -> int | None:
    """Number of heads over whose rows rotary embeddings turn a weight; None if they do not."""
    if ".q_proj." in name:
        return config.num_heads
    return config.num_kv_heads if ".k_proj." in name else None


def to_pairs(rows: Tensor, num_heads: int) -> Tensor:
    """Rows of each head from halves (0, 1, ..., h/2, ...) to pairs (0, h/2, 1, h/2 + 1, ...)."""
    return rows.reshape(num_heads, 2, -1, *rows.shape[1:]).transpose(1, 2).reshape(rows.shape)


def to_halves(rows: Tensor, num_heads: int) -> Tensor:
    """The way back from `to_pairs`."""
    return rows.reshape(num_heads, -1, 2, *rows.shape[1:]).transpose(1, 2).reshape(rows.shape)


def join(parts: Sequence[LazyTensor], dimension: int | None) -> LazyTensor:
    """One weight from its parts, one a rank; ranks that hold the whole agree, so the first does."""
    first = parts[0]
    if dimension is None or len(parts) == 1:
        return first
    shape = list(first.shape)
    shape[dimension] = sum(part.shape[dimension] for part in parts)
    return LazyTensor(
        tuple(shape), first.dtype, lambda: torch.cat([part.read() for part in parts], dimension)
    )


def cut(tensor: Tensor, dimension: int | None, num_ranks: int) -> list[Tensor]:
    """The part of each rank."""
    if dimension is None:
        return [tensor] * num_ranks
    return [part.contiguous() for part in tensor.chunk(num_ranks, dimension)]
