"""Rotary position embeddings (section 2.2), in the half-split layout of Hugging Face weights.

Meta's own checkpoints interleave the pairs; weights are permuted once on the way in and out, never
here. Angles are always float32: in bfloat16 positions beyond 256 would collide. There is no
buffer: the angles follow from the positions, so nothing is left unset after a meta-device init.
"""

from __future__ import annotations

import torch
from torch import Tensor


def rotary_angles(positions: Tensor, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosine and sine of every position's angles.

    Args:
        positions: [B, T] integer positions.
        head_dim: width of a head, even.
        theta: base of the geometric series of frequencies.

    Returns:
        Two float32 tensors [B, 1, T, head_dim / 2], ready to broadcast over heads.
    """
    exponents = torch.arange(0, head_dim, 2, device=positions.device, dtype=torch.float32)
    frequencies = theta ** (-exponents / head_dim)
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
