"""Rotary embeddings against complex numbers, by hand, and in Meta's own layout."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from arriero.model.config import ModelConfig
from arriero.model.rotary import rotary_angles, rotary_frequencies, rotate


def frequencies(head_dim: int, **more: Any) -> torch.Tensor:
    return rotary_frequencies(
        ModelConfig(dim=2 * head_dim, num_heads=2, num_kv_heads=2, **more), "cpu"
    )


def heads(length: int, head_dim: int = 8, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, 2, length, head_dim, generator=generator)


def test_angles_by_hand() -> None:
    cosine, sine = rotary_angles(torch.tensor([[0, 3]]), frequencies(4))
    assert cosine.shape == sine.shape == (1, 1, 2, 2)
    expected = torch.tensor([[1.0, 1.0], [math.cos(3), math.cos(0.03)]])
    torch.testing.assert_close(cosine[0, 0], expected)
    expected = torch.tensor([[0.0, 0.0], [math.sin(3), math.sin(0.03)]])
    torch.testing.assert_close(sine[0, 0], expected)


def test_a_pair_is_a_complex_number_that_turns() -> None:
    x = heads(length=6)
    positions = torch.tensor([[0, 1, 5, 17, 2, 40]])
    speeds = 10_000.0 ** -(torch.arange(4, dtype=torch.float64) / 4)
    turns = torch.polar(
        torch.ones(6, 4, dtype=torch.float64), positions[0, :, None].double() * speeds
    )
    turned = torch.complex(x[..., :4].double(), x[..., 4:].double()) * turns
    expected = torch.cat((turned.real, turned.imag), dim=-1).float()
    got = rotate(x, *rotary_angles(positions, frequencies(8)))
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_only_the_distance_counts() -> None:
    """q at m and k at n meet as q at m + 100 and k at n + 100 do, and unlike q at m + 1."""
    q, k = heads(1, seed=1), heads(1, seed=2)

    def product(m: int, n: int) -> torch.Tensor:
        turned = [
            rotate(x, *rotary_angles(torch.tensor([[at]]), frequencies(8)))
            for x, at in ((q, m), (k, n))
        ]
        return (turned[0] * turned[1]).sum(-1)

    torch.testing.assert_close(product(7, 3), product(107, 103), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(product(7, 3), product(8, 3), atol=1e-3)


def test_interleaved_pairs_are_the_same_after_the_permutation() -> None:
    """Meta's code turns neighbours (x_0, x_1), (x_2, x_3), ...; ours halves."""
    x = heads(length=3)
    positions = torch.tensor([[0, 4, 9]])
    cosine, sine = rotary_angles(positions, frequencies(8))
    pairs = x.unflatten(-1, (4, 2))
    first, second = pairs[..., 0], pairs[..., 1]
    theirs = torch.stack(
        (first * cosine - second * sine, second * cosine + first * sine), dim=-1
    ).flatten(-2)
    to_halves = torch.tensor([0, 2, 4, 6, 1, 3, 5, 7])
    torch.testing.assert_close(rotate(x[..., to_halves], cosine, sine), theirs[..., to_halves])


def test_bfloat16_keeps_far_positions_apart() -> None:
    """In bfloat16 positions 4000 and 4001 are one number; the angles are float32."""
    x = torch.ones(1, 1, 2, 8, dtype=torch.bfloat16)
    cosine, sine = rotary_angles(torch.tensor([[4000, 4001]]), frequencies(8))
    assert cosine.dtype == torch.float32
    got = rotate(x, cosine, sine)
    assert got.dtype == torch.bfloat16
    for column, position in enumerate((4000, 4001)):
        expected = math.cos(position) - math.sin(position)
        assert abs(float(got[0, 0, column, 0]) - expected) < 0.01


def test_linear_scaling_by_hand() -> None:
    """A factor of 4 puts position 8 where position 2 was."""
    plain, stretched = frequencies(8), frequencies(8, rope_scaling="linear", rope_factor=4.0)
    torch.testing.assert_close(stretched, plain / 4)
    there = rotary_angles(torch.tensor([[8]]), stretched)
    here = rotary_angles(torch.tensor([[2]]), plain)
    torch.testing.assert_close(there, here)


def test_llama3_scaling_wave_by_wave() -> None:
    """Waves that fit four times into the old context stay, those that do not fit are divided."""
    head_dim, theta, old, factor = 128, 500_000.0, 8192, 8.0
    got = frequencies(
        head_dim,
        rope_theta=theta,
        rope_scaling="llama3",
        rope_factor=factor,
        rope_original_context=old,
    )
    kinds: set[str] = set()
    for index in range(head_dim // 2):
        frequency = theta ** (-2 * index / head_dim)
        wave = 2 * math.pi / frequency
        if wave < old / 4:
            kinds.add("short")
            expected = frequency
        elif wave > old:
            kinds.add("long")
            expected = frequency / factor
        else:
            kinds.add("between")
            share = (old / wave - 1) / (4 - 1)
            expected = (1 - share) * frequency / factor + share * frequency
        assert math.isclose(float(got[index]), expected, rel_tol=1e-5)
    assert kinds == {"short", "between", "long"}


SCALINGS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"rope_type": "default"}),
    ({"rope_scaling": "linear", "rope_factor": 2.5}, {"rope_type": "linear", "factor": 2.5}),
    (
        {"rope_scaling": "llama3", "rope_factor": 32.0, "rope_original_context": 2048},
        {
            "rope_type": "llama3",
            "factor": 32.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 2048,
        },
    ),
]


@pytest.mark.parametrize("theta", [10_000.0, 500_000.0])
@pytest.mark.parametrize(("ours", "theirs"), SCALINGS)
def test_frequencies_are_those_of_transformers_to_the_last_bit(
    ours: dict[str, Any], theirs: dict[str, Any], theta: float
) -> None:
    """A last bit is an angle of 0.0002 at position 4,096."""
    config = LlamaConfig(
        hidden_size=128,
        num_attention_heads=2,
        max_position_embeddings=4096,
        rope_parameters={**theirs, "rope_theta": theta},
    )
    expected = LlamaRotaryEmbedding(config).inv_freq
    assert torch.equal(frequencies(64, rope_theta=theta, **ours), expected)


def test_frequencies_are_float32_whatever_the_default_is() -> None:
    torch.set_default_dtype(torch.bfloat16)
    try:
        assert frequencies(8).dtype == torch.float32
    finally:
        torch.set_default_dtype(torch.float32)
