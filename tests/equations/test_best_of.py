from __future__ import annotations

import itertools
import statistics

import pytest
import torch

from arriero.equations.best_of import (
    expected_best,
    expected_max_of_n,
    expected_median,
)


def test_by_hand() -> None:
    scores = torch.tensor([[4.0, 1.0, 2.0]])
    assert expected_best(scores, 1).item() == pytest.approx(7 / 3)
    assert expected_best(scores, 2).item() == pytest.approx(10 / 3)
    assert expected_best(scores, 3).item() == 4
    assert expected_median(scores, 1).item() == pytest.approx(7 / 3)
    assert expected_median(scores, 2).item() == pytest.approx(7 / 3)
    assert expected_median(scores, 3).item() == 2


@pytest.mark.parametrize("n", range(1, 8))
def test_against_all_subsets(n: int) -> None:
    scores = torch.randn(3, 7, generator=torch.Generator().manual_seed(n))
    scores[2, 3] = scores[2, 5]  # a tie
    best, median = expected_best(scores, n), expected_median(scores, n)
    for row, values in enumerate(scores.tolist()):
        draws = list(itertools.combinations(values, n))
        assert best[row].item() == pytest.approx(statistics.mean(map(max, draws)))
        assert median[row].item() == pytest.approx(statistics.mean(map(statistics.median, draws)))


def test_curves_of_a_hundred_samples() -> None:
    scores = torch.randn(5, 100, generator=torch.Generator().manual_seed(0))
    best, median = expected_max_of_n(scores)
    assert best.shape == median.shape == (100,)
    assert best[0].item() == pytest.approx(scores.mean().item(), rel=1e-5)
    assert best[-1].item() == pytest.approx(scores.amax(1).mean().item(), rel=1e-6)
    assert median[-1].item() == pytest.approx(
        sum(statistics.median(row) for row in scores.tolist()) / 5
    )
    gains = best.diff()
    assert (gains > 0).all()
    # Each further sample is worth less than the one before.
    assert (gains.diff() < 1e-12).all()
    assert (median[1:] < best[1:]).all()


def test_order_of_the_samples_does_not_matter() -> None:
    scores = torch.randn(2, 6, generator=torch.Generator().manual_seed(1))
    shuffled = scores[:, torch.tensor([3, 0, 5, 1, 4, 2])]
    for n in range(1, 7):
        torch.testing.assert_close(expected_best(shuffled, n), expected_best(scores, n))


@pytest.mark.parametrize("n", [0, 4])
def test_n_outside_the_samples_is_refused(n: int) -> None:
    with pytest.raises(ValueError, match="3 samples"):
        expected_best(torch.zeros(1, 3), n)
