"""Grouped-query attention (section 2.2) and what a query may see."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from arriero.model import fused
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
        starts: Tensor | None,
        cached: tuple[KVCache, int, Tensor, Tensor] | None,
        skips: Tensor | None = None,
        wanted: Tensor | None = None,
    ) -> Tensor:
        """Attend.

        Args:
            x: [B, T, D].
            cosine, sine: rotary angles, [B, 1, T, head_dim / 2].
            starts: [B, T], the column at which the document of each token begins; None if that is
                0 for all. A query sees its document up to itself.
            cached: the cache, this layer's number, the positions [B, T] to write to, and what a
                query may see of the cache, [B, 1, T, slots] bool.
            skips: [B, T, 2], what of its document a query does not see, as in `visible_from`;
                goes with `starts`.
            wanted: [N] places among the B * T tokens, row after row, whose outcome alone is asked
                for; all of them if left out.

        Returns:
            [B, T, D], or [N, D] of what is wanted.
        """
        num_rows, length, _ = x.shape
        head_dim = self.config.head_dim
        q = self.q_proj(x).view(num_rows, length, -1, head_dim)
        k = self.k_proj(x).view(num_rows, length, -1, head_dim)
        v = self.v_proj(x).view(num_rows, length, -1, head_dim)
        if cached is None and fused.is_fused(q, k, v):
            starts = x.new_zeros(x.shape[:2], dtype=torch.int64) if starts is None else starts
            cosine, sine = (x.squeeze(1).expand(num_rows, -1, -1) for x in (cosine, sine))
            y = fused.attention(q, k, v, cosine, sine, starts, skips)
            return self.o_proj(chosen(y.view(num_rows, length, -1), wanted))
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        q, k = rotate(q, cosine, sine), rotate(k, cosine, sine)
        if cached is not None:
            cache, layer, positions, visible = cached
            cache.write(layer, positions, k, v)
            k, v = cache.read(layer, visible.shape[-1])
        else:
            visible = None if starts is None else visible_from(starts, skips)
        # Keys and values are not repeated for the heads of a group: a third of the time in
        # decoding on a CPU.
        y = F.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=visible,
            is_causal=visible is None,
            enable_gqa=self.config.num_kv_heads < self.config.num_heads,
        )
        y = y.transpose(1, 2).reshape(num_rows, length, -1)
        return self.o_proj(chosen(y, wanted))


def chosen(x: Tensor, wanted: Tensor | None) -> Tensor:
    """Some of the tokens of x [B, T, D] by their places [N], row after row: [N, D]; None is all."""
    return x if wanted is None else x.flatten(0, 1).index_select(0, wanted)


def document_starts(segments: Tensor) -> Tensor:
    """Where the document of each token begins (packing must not leak).

    Args:
        segments: [B, T] integer, equal for the tokens of one document, which stand side by side;
            padding has a number of its own.

    Returns:
        [B, T] int64 columns: (7, 7, 9, 9, 9) -> (0, 0, 2, 2, 2).
    """
    columns = torch.arange(segments.shape[1], device=segments.device).expand_as(segments)
    begins = torch.ones_like(segments, dtype=torch.bool)
    begins[:, 1:] = segments[:, 1:] != segments[:, :-1]
    return torch.where(begins, columns, 0).cummax(1).values


def visible_from(starts: Tensor, skips: Tensor | None = None) -> Tensor:
    """Causal sight that goes back to where the document begins.

    Args:
        starts: [B, T] columns, from document_starts.
        skips: [B, T, 2] columns from, and to but not with, which a query sees nothing of its
            document; two that are equal skip nothing.

    Returns:
        [B, 1, T, T] bool.
    """
    columns = torch.arange(starts.shape[1], device=starts.device)
    visible = (columns >= starts[:, :, None]) & (columns <= columns[:, None])
    if skips is not None:
        visible &= (columns < skips[:, :, :1]) | (columns >= skips[:, :, 1:])
    return visible[:, None]


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
