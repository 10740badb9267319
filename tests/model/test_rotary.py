"""Rotary embeddings against complex numbers, by hand, and in Meta's own layout."""

from __future__ import annotations

import math

import torch

from arriero.model.rotary import rotary_angles, rotate


def heads(length: int, head_dim: int = 8, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, 2, length, head_dim, generator=generator)


def test_angles_by_hand() -> None:
    cosine, sine = rotary_angles(torch.tensor([[0, 3]]), head_dim=4, theta=10_000.0)
    assert cosine.shape == sine.shape == (1, 1, 2, 2)
    expected = torch.tensor([[1.0, 1.0], [math.cos(3), math.cos(0.03)]])
    torch.testing.assert_close(cosine[0, 0], expected)
    expected = torch.tensor([[0.0, 0.0], [math.sin(3), math.sin(0.03)]])
    torch.testing.assert_close(sine[0, 0], expected)


def test_a_pair_is_a_complex_number_that_turns() -> None:
    x = heads(length=6)
    positions = torch.tensor([[0, 1, 5, 17, 2, 40]])
    frequencies = 10_000.0 ** -(torch.arange(4, dtype=torch.float64) / 4)
    turns = torch.polar(
        torch.ones(6, 4, dtype=torch.float64), positions[0, :, None].double() * frequencies
    )
    turned = torch.complex(x[..., :4].double(), x[..., 4:].double()) * turns
    expected = torch.cat((turned.real, turned.imag), dim=-1).float()
    got = rotate(x, *rotary_angles(positions, 8, 10_000.0))
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_only_the_distance_counts() -> None:
    """q at m and k at n meet as q at m + 100 and k at n + 100 do, and unlike q at m + 1."""
    q, k = heads(1, seed=1), heads(1, seed=2)

    def product(m: int, n: int) -> torch.Tensor:
        turned = [
            rotate(x, *rotary_angles(torch.tensor([[at]]), 8, 10_000.0))
            for x, at in ((q, m), (k, n))
        ]
        return (turned[0] * turned[1]).sum(-1)

    torch.testing.assert_close(product(7, 3), product(107, 103), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(product(7, 3), product(8, 3), atol=1e-3)


def test_interleaved_pairs_are_the_same_after_the_permutation() -> None:
    """Meta's code turns neighbours (x_0, x_1), (x_2, x_3), ...; ours halves."""
    x = heads(length=3)
    positions = torch.tensor([[0, 4, 9]])
    cosine, sine = rotary_angles(positions, 8, 10_000.0)
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
    cosine, sine = rotary_angles(torch.tensor([[4000, 4001]]), 8, 10_000.0)
    assert cosine.dtype == torch.float32
    got = rotate(x, cosine, sine)
    assert got.dtype == torch.bfloat16
    for column, position in enumerate((4000, 4001)):
        expected = math.cos(position) - math.sin(position)
        assert abs(float(got[0, 0, column, 0]) - expected) < 0.01
