from __future__ import annotations

import math

import pytest

from arriero.equations.schedule import cosine_with_warmup, reward_warmup_steps


def test_by_hand() -> None:
    def rate(step: int) -> float:
        return cosine_with_warmup(step, num_steps=101, peak=2.0, warmup_steps=10)

    assert rate(0) == pytest.approx(0.2)
    assert rate(4) == pytest.approx(1.0)
    assert rate(9) == pytest.approx(2.0)
    assert rate(10) == pytest.approx(2.0)
    assert rate(55) == pytest.approx(2.0 * 0.55)  # halfway down
    assert rate(100) == pytest.approx(0.2)
    assert [rate(step) for step in (101, 140, 1000)] == pytest.approx([0.2] * 3)


def test_the_setting_of_the_paper() -> None:
    # 7B: peak 3e-4, 2,000 warm-up steps, 2T tokens in batches of 4M.
    rates = [cosine_with_warmup(step, 500_000, 3e-4, 2000) for step in (0, 1999, 499_999)]
    assert rates == pytest.approx([1.5e-7, 3e-4, 3e-5])


@pytest.mark.parametrize(
    ("num_steps", "warmup", "final"), [(50, 5, 0.1), (50, 0, 0.0), (7, 6, 0.1), (1, 0, 0.1)]
)
def test_against_a_slow_reference(num_steps: int, warmup: int, final: float) -> None:
    rising = [(i + 1) / warmup for i in range(warmup)]
    num_falling = num_steps - warmup
    falling = [
        final + (1 - final) * math.cos(math.pi / 2 * i / max(1, num_falling - 1)) ** 2
        for i in range(num_falling)
    ]
    expected = [*rising, *falling]
    rates = [cosine_with_warmup(i, num_steps, 1.0, warmup, final) for i in range(num_steps)]
    assert rates == pytest.approx(expected)


@pytest.mark.parametrize("num_steps", [1, 2, 5, 20, 333])
@pytest.mark.parametrize("warmup", [0, 1, 5, 400])
def test_rates_rise_to_the_peak_and_then_fall(num_steps: int, warmup: int) -> None:
    rates = [cosine_with_warmup(i, num_steps, 1.0, warmup) for i in range(num_steps)]
    assert rates[0] > 0
    assert max(rates) <= 1
    rising, falling = rates[:warmup], rates[warmup:]
    assert rising == sorted(rising)
    assert falling == sorted(falling, reverse=True)
    if num_steps > warmup + 1:
        assert max(rates) == 1
        assert rates[-1] == pytest.approx(0.1)


def test_reward_warmup_is_three_percent_and_at_least_five() -> None:
    assert [reward_warmup_steps(n) for n in (1, 100, 167, 200, 700, 1000, 1001)] == [
        5,
        5,
        6,
        6,
        21,
        30,
        31,
    ]
    for num_steps in range(1, 2000):
        warmup = reward_warmup_steps(num_steps)
        assert warmup == 5 or 0 <= warmup * 100 - 3 * num_steps < 100
