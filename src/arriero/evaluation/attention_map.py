"""Where a model looks: the strongest attention over all layers and heads, in bins (Figure 10)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from arriero.model.attention import Attention
from arriero.model.heads import LanguageModel
from arriero.model.rotary import rotate


@torch.no_grad()
def strongest_attention(model: LanguageModel, tokens: Sequence[int]) -> Tensor:
    """The largest weight that any head of any layer gives a token.

    Args:
        tokens: ids of one dialog, T of them.

    Returns:
        [T, T] float32 on the CPU: row i is where token i looks, 0 beyond the diagonal.
    """
    found: list[Tensor] = []

    def keep(module: Any, inputs: tuple[Any, ...]) -> None:
        x, cosine, sine = inputs[:3]
        found.append(_weights(module, x, cosine, sine).amax(0))

    attentions = [module for module in model.modules() if isinstance(module, Attention)]
    handles = [module.register_forward_pre_hook(keep) for module in attentions]
    try:
        ids = torch.tensor([list(tokens)], device=next(model.parameters()).device)
        model.model(ids)
    finally:
        for handle in handles:
            handle.remove()
    return torch.stack(found).amax(0).float().cpu()


def _weights(attention: Attention, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """softmax(q k' / sqrt(d)) under the causal mask, [heads, T, T]."""
    config = attention.config
    length = x.shape[1]
    q = attention.q_proj(x).view(length, -1, config.head_dim).transpose(0, 1)
    k = attention.k_proj(x).view(length, -1, config.head_dim).transpose(0, 1)
    q, k = rotate(q[None], cosine, sine)[0], rotate(k[None], cosine, sine)[0]
    k = k.repeat_interleave(config.num_heads // config.num_kv_heads, dim=0)
    scores = (q @ k.transpose(1, 2)).float() / math.sqrt(config.head_dim)
    later = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
    return scores.masked_fill(later, -torch.inf).softmax(-1)


def binned(weights: Tensor, size: int) -> Tensor:
    """The largest weight in each square of `size` neighbouring tokens.

    Args:
        weights: [T, T].

    Returns:
        [ceil(T / size), ceil(T / size)]; the last bins may hold fewer tokens.
    """
    length = math.ceil(weights.shape[0] / size) * size
    wide = weights.new_zeros(length, length)
    wide[: weights.shape[0], : weights.shape[1]] = weights
    return wide.view(length // size, size, length // size, size).amax(dim=(1, 3))
