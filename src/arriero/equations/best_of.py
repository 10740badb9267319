"""What the best of n samples is worth, exactly, from K scored samples a prompt (Figure 7).

The paper draws N samples for each N; here every subset of n among the K at hand counts, so that
the curve has no sampling noise of its own.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def expected_best(scores: Tensor, n: int) -> Tensor:
    """Expected maximum of n of the K samples, drawn without replacement.

    Args:
        scores: [P, K], K samples of each of P prompts.
        n: 1..K.

    Returns:
        [P] float64.

    Raises:
        ValueError: n is not in 1..K.

    Worked example: scores (1, 2, 4), n = 2: pairs (1, 2), (1, 4), (2, 4) -> (2 + 4 + 4) / 3.
    """
    return _expected_order_statistic(scores, n, n)


def expected_median(scores: Tensor, n: int) -> Tensor:
    """Expected median of n of the K samples; of an even n, the mean of the middle two.

    Arguments, result and errors as in `expected_best`.

    Worked example: scores (1, 2, 4), n = 2: (1.5 + 2.5 + 3) / 3.
    """
    lower = _expected_order_statistic(scores, n, (n + 1) // 2)
    upper = _expected_order_statistic(scores, n, n // 2 + 1)
    return (lower + upper) / 2


def expected_max_of_n(scores: Tensor) -> tuple[Tensor, Tensor]:
    """The two curves of Figure 7: expected max and median for n = 1..K, averaged over prompts.

    Args:
        scores: [P, K].

    Returns:
        Two tensors [K] float64; entry n - 1 belongs to n.
    """
    counts = range(1, scores.shape[-1] + 1)
    best = torch.stack([expected_best(scores, n).mean() for n in counts])
    median = torch.stack([expected_median(scores, n).mean() for n in counts])
    return best, median


def _expected_order_statistic(scores: Tensor, n: int, rank: int) -> Tensor:
    """Expected `rank`-th smallest of n drawn without replacement: [P, K] -> [P] float64.

    The i-th smallest of all K has that rank in C(i-1, rank-1) C(K-i, n-rank) of the C(K, n) draws.
    """
    num_samples = scores.shape[-1]
    if not 1 <= n <= num_samples:
        raise ValueError(f"n is {n}; there are {num_samples} samples a prompt")
    weights = [
        math.comb(i - 1, rank - 1)
        * math.comb(num_samples - i, n - rank)
        / math.comb(num_samples, n)
        for i in range(1, num_samples + 1)
    ]
    ordered = scores.to(torch.float64).sort(-1).values
    return ordered @ torch.tensor(weights, dtype=torch.float64, device=scores.device)
