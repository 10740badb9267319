"""The Llama decoder: pre-norm blocks of attention and SwiGLU (section 2.2).

Parameter names are those of Hugging Face's Llama, so that a state dict is a checkpoint.
Parallelism, precision and compilation are applied from outside.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from arriero.model import fused
from arriero.model.attention import Attention, chosen, document_starts, visible_in_cache
from arriero.model.cache import KVCache
from arriero.model.config import ModelConfig
from arriero.model.rotary import rotary_angles, rotary_frequencies


class RMSNorm(nn.Module):
    """x / rms(x) * weight; the mean square is taken in float32 whatever the type of x."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        if fused.is_fused(x, self.weight):
            return fused.rms_norm(x, self.weight, self.eps)
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


class SwiGLU(nn.Module):
    """down(silu(gate(x)) * up(x))."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        bias = config.mlp_bias
        self.gate_proj = nn.Linear(config.dim, config.ffn_dim, bias=bias)
        self.up_proj = nn.Linear(config.dim, config.ffn_dim, bias=bias)
        self.down_proj = nn.Linear(config.ffn_dim, config.dim, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_proj(x), self.up_proj(x)
        if fused.is_fused(gate, up, or_bfloat16=True):
            return self.down_proj(fused.swiglu(gate, up))
        return self.down_proj(F.silu(gate) * up)


class Block(nn.Module):
    """x + attention(norm(x)), then x + swiglu(norm(x))."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.dim, config.norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.dim, config.norm_eps)
        self.mlp = SwiGLU(config)

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
        attended = self.self_attn(
            self.input_layernorm(x), cosine, sine, starts, cached, skips, wanted
        )
        x = chosen(x, wanted) + attended
        return x + self.mlp(self.post_attention_layernorm(x))


class Transformer(nn.Module):
    """Tokens in, hidden states out; heads (language, score, value) stand on top of it."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.dim)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.norm = RMSNorm(config.dim, config.norm_eps)

    def forward(
        self,
        tokens: Tensor,
        *,
        positions: Tensor | None = None,
        segments: Tensor | None = None,
        skips: Tensor | None = None,
        cache: KVCache | None = None,
        num_slots: int | None = None,
        wanted: Tensor | None = None,
    ) -> Tensor:
        """Hidden states after the final norm.

        Args:
            tokens: [B, T] ids.
            positions: [B, T]; 0, 1, 2, ... if left out.
            segments: [B, T] document numbers of packed rows; attention stays inside a document,
                whose tokens stand side by side.
                Right padding needs none: a causal query never sees what comes after it.
            skips: [B, T, 2] columns of its document, from and to but not with, that a token does
                not see, as where two answers share a prompt; needs `segments`.
            cache: keys and values of earlier positions; this call's are written at `positions`.
            num_slots: slots of the cache that can hold anything yet; all of them if left out.
            wanted: [N] places among the B * T tokens, row after row, whose states alone are asked
                for. The last block has no use for the others but as keys and values, and leaves
                the rest of its work on them out.

        Returns:
            [B, T, D], or [N, D] of what is wanted.
        """
        if positions is None:
            positions = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
        starts = None if segments is None else document_starts(segments)
        visible = torch.empty(0)
        if cache is not None:
            visible = visible_in_cache(positions, num_slots or cache.num_slots)
        frequencies = rotary_frequencies(self.config, positions.device)
        cosine, sine = rotary_angles(positions, frequencies)
        x = self.embed_tokens(tokens)
        for number, block in enumerate(self.layers):
            cached = None if cache is None else (cache, number, positions, visible)
            last = number == len(self.layers) - 1
            x = block(x, cosine, sine, starts, cached, skips, wanted if last else None)
        return self.norm(x)


def init_weights(module: nn.Module, num_layers: int, seed: int) -> None:
    """Draw every matrix anew, see `drawn`."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(drawn(name, parameter.shape, num_layers, generator))


def drawn(name: str, shape: torch.Size, num_layers: int, generator: torch.Generator) -> Tensor:
    """New values of a parameter: matrices from a normal distribution, norms one, biases zero.

    Standard deviation 0.02 for the embedding, fan_in^-1/2 for projections (which is 0.0156 at
    width 4,096 and keeps small models from starting too quiet), and the projections back into the
    residual stream divided by sqrt(2 * layers). An output matrix that is the embedding is drawn
    once, as the embedding. The paper does not give its initialisation.
    """
    if len(shape) < 2:
        return torch.zeros(shape) if name.endswith("bias") else torch.ones(shape)
    std = 0.02 if "embed_tokens" in name else shape[1] ** -0.5
    if name.endswith(("o_proj.weight", "down_proj.weight")):
        std /= math.sqrt(2 * num_layers)
    return torch.empty(shape).normal_(0.0, std, generator=generator)
