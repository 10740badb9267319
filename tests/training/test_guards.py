"""Verdicts by hand, against a plain recount, and across a stop."""

from __future__ import annotations

import json
import math
import random

import pytest

from arriero.training.guards import Guard


def guard_after(losses: list[float], norms: list[float], clip: float = 0.0) -> Guard:
    guard = Guard(clip)
    for loss, norm in zip(losses, norms, strict=True):
        assert guard.judge(loss, norm) == "ok"
    return guard


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_told_from_the_first_step_on(bad: float) -> None:
    assert Guard().judge(bad, 1.0) == "not finite"
    assert Guard().judge(1.0, bad) == "not finite"


def test_ten_sigma_by_hand() -> None:
    """Losses 2 and 4 by turns: mean 3, sigma 1, so 13 is the last that is no spike.

    Norms 1 and 3 by turns: mean 2, sigma 1, so 12 is.
    """
    losses, norms = [2.0, 4.0] * 10, [1.0, 3.0] * 10
    assert guard_after(losses, norms).judge(13.0, 2.0) == "ok"
    assert guard_after(losses, norms).judge(13.01, 2.0) == "spike"
    assert guard_after(losses, norms).judge(3.0, 12.0) == "ok"
    assert guard_after(losses, norms).judge(3.0, 12.01) == "spike"


def test_nothing_is_a_spike_while_there_are_fewer_than_twenty() -> None:
    assert guard_after([3.0] * 19, [1.0] * 19).judge(1e6, 1e6) == "ok"
    assert guard_after([3.0] * 20, [1.0] * 20).judge(1e6, 1e6) == "spike"


def test_a_constant_loss_makes_no_spike_of_rounding() -> None:
    """Sigma is 0, but counts as 0.05 nats and as a tenth of the norm's mean."""
    guard = guard_after([3.0] * 50, [1.0] * 50)
    assert guard.judge(3.0 + 1e-6, 1.0 + 1e-6) == "ok"
    assert guard.judge(3.49, 1.99) == "ok"
    assert guard_after([3.0] * 50, [1.0] * 50).judge(3.51, 1.0) == "spike"
    assert guard_after([3.0] * 50, [1.0] * 50).judge(3.0, 2.01) == "spike"


def test_falling_is_never_a_spike() -> None:
    losses = [10.0 * 0.97**step for step in range(400)]
    guard_after(losses, losses)  # asserts "ok" at each


def test_what_clipping_leaves_alone_is_no_spike() -> None:
    """Norms near zero late in fine-tuning: a batch with something left to learn stands out."""
    losses, norms = [0.1] * 30, [0.001] * 30
    assert guard_after(losses, norms, clip=1.0).judge(0.1, 0.9) == "ok"
    assert guard_after(losses, norms, clip=1.0).judge(0.1, 1.1) == "spike"
    assert guard_after(losses, norms).judge(0.1, 0.9) == "spike"


def test_a_steep_place_is_left_after_one_step_by_clipped_ones() -> None:
    """Else the same weights would meet the same norms again and again, until the run ends."""
    guard = guard_after([1.0] * 30, [0.6] * 30, clip=1.0)
    assert guard.judge(1.0, 1.4) == "spike"
    kept = guard.state()
    assert [guard.judge(1.0, norm) for norm in (3.1, 3.4, 1e9, 9.0)] == ["ok"] * 4
    # What was taken there made no mark that others would hide behind.
    assert guard.judge(1.0, 0.6) == "ok"
    assert guard.judge(1.0, 50.0) == "spike"
    assert guard.bad_in_a_row == 1
    # A loss that jumps is no steep place, and one quiet step ends it.
    assert guard.judge(9.0, 3.0) == "spike"
    guard.load_state(json.loads(json.dumps(kept)))
    assert guard.judge(1.0, 0.6) == "ok"
    assert guard.judge(1.0, 3.1) == "spike"
    # Without clipping such a step would be taken at its full length.
    unclipped = guard_after([1.0] * 30, [0.6] * 30)
    assert [unclipped.judge(1.0, norm) for norm in (1.4, 3.1, 3.4)] == ["spike"] * 3


def test_bad_steps_are_counted_in_a_row_and_teach_nothing() -> None:
    guard = guard_after([3.0] * 30, [1.0] * 30)
    before = guard.state()
    assert guard.judge(50.0, 1.0) == "spike"
    assert guard.judge(math.nan, 1.0) == "not finite"
    assert guard.judge(50.0, 1.0) == "spike"
    assert guard.bad_in_a_row == 3
    assert guard.state() == {**before, "bad_in_a_row": 3}
    assert guard.judge(3.0, 1.0) == "ok"
    assert guard.bad_in_a_row == 0


def test_a_slow_recount_agrees() -> None:
    """The same verdicts from all healthy figures so far, kept whole and counted anew each time."""
    random.seed(3)
    guard, kept = Guard(), list[tuple[float, float]]()
    seen = {"ok": 0, "spike": 0}
    for step in range(600):
        jump = 1.0 if random.random() > 0.1 else random.choice((1.1, 1.3, 6.0, 20.0))
        loss = (3.0 - step / 600 + random.gauss(0, 0.05)) * jump
        norm = random.lognormvariate(0, 0.3) * jump
        is_spike = False
        if len(kept) >= 20:
            for index, value, least in ((0, loss, 0.05), (1, norm, 0.0)):
                last = [pair[index] for pair in kept[-128:]]
                mean = sum(last) / len(last)
                variance = sum((x - mean) ** 2 for x in last) / len(last)
                sigma = max(variance**0.5, least if index == 0 else 0.1 * mean)
                is_spike = is_spike or value > mean + 10 * sigma
        verdict = guard.judge(loss, norm)
        assert verdict == ("spike" if is_spike else "ok"), step
        seen[verdict] += 1
        if not is_spike:
            kept.append((loss, norm))
    assert seen["spike"] > 5


def test_going_on_from_json_judges_the_same() -> None:
    random.seed(4)
    figures = [(random.gauss(3, 0.1), random.lognormvariate(0, 0.5)) for _ in range(300)]
    figures[150] = figures[151] = (30.0, 1.0)
    whole = Guard()
    expected = [whole.judge(*pair) for pair in figures]
    assert "spike" in expected
    for cut in (0, 10, 151, 299):
        first, second = Guard(), Guard()
        verdicts = [first.judge(*pair) for pair in figures[:cut]]
        second.load_state(json.loads(json.dumps(first.state())))
        verdicts += [second.judge(*pair) for pair in figures[cut:]]
        assert verdicts == expected
        assert second.state() == whole.state()


def test_an_empty_state_is_a_fresh_start() -> None:
    guard = guard_after([3.0] * 30, [1.0] * 30)
    guard.load_state({})
    assert guard.state() == Guard().state()
