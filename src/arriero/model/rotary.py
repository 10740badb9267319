"""Rotary position embeddings (section 2.2), in the half-split layout of Hugging Face weights.

Meta's own checkpoints interleave the pairs; weights are permuted once on the way in and out, never
here. Angles are always float32: in bfloat16 positions beyond 256 would collide. There is no
buffer: the angles follow from the positions, so nothing is left unset after a meta-device init.

Departure: two ways of stretching the frequencies to a longer context, which the paper does not
have. `linear` divides all of them, as if positions stood closer together. `llama3` (Llama 3.1)
leaves waves alone that fit into the old context several times, divides those that do not fit, and
goes over smoothly in between.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from arriero.model.config import ModelConfig


def rotary_frequencies(config: ModelConfig, device: torch.device | str | None = None) -> Tensor:
    """Radians a position by which each pair of a head turns.

    Taken in float32 by the operations of the reference code, in their order: at position 4,096 a
    frequency that differs in its last bit is an angle that differs by 0.0002.

    Returns:
        float32 [head_dim / 2], falling.
    """
    exponents = torch.arange(0, config.head_dim, 2, dtype=torch.float32, device=device)
    frequencies = 1.0 / (config.rope_theta ** (exponents / config.head_dim))
    match config.rope_scaling:
        case "none":
            return frequencies
        case "linear":
            return frequencies / config.rope_factor
        case "llama3":
            return _stretch_long_waves(frequencies, config)


def _stretch_long_waves(frequencies: Tensor, config: ModelConfig) -> Tensor:
    """Divide by the factor where a wave is long, not at all where it is short."""
    low, high = config.rope_low_frequency_factor, config.rope_high_frequency_factor
    # How often a wave fits into the context that the model was first trained on.
    repeats = config.rope_original_context / (2 * math.pi / frequencies)
    kept = ((repeats - low) / (high - low)).clamp(0.0, 1.0)
    return (1 - kept) * frequencies / config.rope_factor + kept * frequencies


def rotary_angles(positions: Tensor, frequencies: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine of every position's angles.

    Args:
        positions: [B, T] integer positions.
        frequencies: [head_dim / 2], from rotary_frequencies.

    Returns:
        Two float32 tensors [B, 1, T, head_dim / 2], ready to broadcast over heads.
    """
    angles = positions[:, None, :, None].float() * frequencies
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Turn each pair (x_i, x_{i + head_dim/2}) of a head by its angle.

    Args:
        x: [B, H, T, head_dim].
        cosine, sine: [B, 1, T, head_dim / 2], float32.

    Returns:
        [B, H, T, head_dim] in the type of `x`.
    """
    first, second = x.float().chunk(2, dim=-1)
    turned = torch.cat((first * cosine - second * sine, second * cosine + first * sine), dim=-1)
    return turned.to(x.dtype)
