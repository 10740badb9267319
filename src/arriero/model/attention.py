"""Grouped-query attention (section 2.2) and what a query may see."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from arriero.model.cache import KVCache
from arriero.model.config import ModelConfig
from arriero.model.rotary import rotate


class Attention(nn.Module):
    """Multi-head attention; grouped (GQA) if there are fewer key/value heads, MQA if one."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        bias = config.attention_bias
        self.q_proj = nn.Linear(config.dim, config.query_dim, bias=bias)
        self.k_proj = nn.Linear(config.dim, config.kv_dim, bias=bias)
        self.v_proj = nn.Linear(config.dim, config.kv_dim, bias=bias)
        self.o_proj = nn.Linear(config.query_dim, config.dim, bias=bias)

    def forward(
        self,
        x: Tensor,
        cosine: Tensor,
        sine: Tensor,
        visible: Tensor | None,
        cached: tuple[KVCache, int, Tensor] | None,
    ) -> Tensor:
        """Attend.

        Args:
            x: [B, T, D].
            cosine, sine: rotary angles, [B, 1, T, head_dim / 2].
            visible: [B, 1, T, S] bool, True where a query may look; None means causal.
            cached: the cache, this layer's number and the positions [B, T] to write to.

        Returns:
            [B, T, D].
        """
        num_rows, length, _ = x.shape
        head_dim = self.config.head_dim
        q = self.q_proj(x).view(num_rows, length, -1, head_dim).transpose(1, 2)
        k = self.k_proj(x).view(num_rows, length, -1, head_dim).transpose(1, 2)
        v = self.v_proj(x).view(num_rows, length, -1, head_dim).transpose(1, 2)
        q, k = rotate(q, cosine, sine), rotate(k, cosine, sine)
        if cached is not None:
            cache, layer, positions = cached
            cache.write(layer, positions, k, v)
            assert visible is not None
            k, v = cache.read(layer, visible.shape[-1])
        # Keys and values are not repeated for the heads of a group: 0.9 of the time in training, a
        # third in decoding, on a CPU.
        y = F.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=visible,
            is_causal=visible is None,
            enable_gqa=self.config.num_kv_heads < self.config.num_heads,
        )
        return self.o_proj(y.transpose(1, 2).reshape(num_rows, length, -1))


def visible_in_segments(segments: Tensor) -> Tensor:
    """Causal sight that stops at document borders (packing must not leak).

    Args:
        segments: [B, T] integer, equal for tokens of one document; padding has a number of its own.

    Returns:
        [B, 1, T, T] bool.
    """
    length = segments.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=segments.device).tril()
    return ((segments[:, :, None] == segments[:, None, :]) & causal)[:, None]


def visible_in_cache(positions: Tensor, num_slots: int) -> Tensor:
    """A query at position p sees slots 0..p.

    Args:
        positions: [B, T] positions of the queries.
        num_slots: slots that the cache is read to.

    Returns:
        [B, 1, T, num_slots] bool.
    """
    slots = torch.arange(num_slots, device=positions.device)
    return (slots <= positions[:, :, None])[:, None]
