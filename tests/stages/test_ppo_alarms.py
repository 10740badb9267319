"""The rules that tell a broken PPO from a healthy one, by hand-made figures."""

from __future__ import annotations

import json
from typing import Any

import pytest

from arriero.stages.ppo_alarms import (
    CHECKS,
    FEW,
    MANY,
    Check,
    Watch,
    critic_useless,
    kl_negative,
    length_ran_away,
    off_policy,
    repetition_ran_away,
    rewards_parted,
    sampler_parted,
)

HEALTHY: dict[str, Any] = {
    "ratio_gap": 0.0,
    "sampler_gap": 5e-7,
    "kl": 0.1,
    "kl_error": 0.02,
    "length": 20.0,
    "repetition": 0.01,
    "explained_variance": 0.3,
}


def test_a_ratio_off_1() -> None:
    assert off_policy(1e-5) is None
    assert "0.03 off 1" in (off_policy(0.03) or "")


def test_sampler_and_trainer_by_the_type_of_the_sampler() -> None:
    assert sampler_parted(9e-5, "float32") is None
    assert "0.01 nats a token apart" in (sampler_parted(0.01, "float32") or "")
    assert sampler_parted(0.01, "bfloat16") is None
    assert sampler_parted(0.05, "bfloat16") is not None


def test_a_kl_below_0_only_counts_beyond_the_noise() -> None:
    assert kl_negative(0.0, 0.0) is None
    assert kl_negative(-0.059, 0.02) is None
    assert "-0.061 an answer" in (kl_negative(-0.061, 0.02) or "")


def test_answers_that_grow_or_shrink_by_half() -> None:
    assert length_ran_away([10.0, 40.0, 40.0]) is None  # too few to say
    assert length_ran_away([10.0, 99.0, 18.0, 19.0, 20.0]) is None
    assert "20.0 tokens, at the start they had 10.0" in (
        length_ran_away([10.0, 10.0, 19.0, 20.0, 21.0]) or ""
    )
    assert length_ran_away([10.0, 5.0, 5.0, 5.0]) is not None
    assert length_ran_away([10.0, 5.0, 5.0, 5.1]) is None


def test_answers_that_repeat_themselves() -> None:
    assert repetition_ran_away([0.02, 0.9, 0.9]) is None
    assert repetition_ran_away([0.02, 0.9, 0.1, 0.12, 0.13]) is None
    assert "20% of an answer's trigrams" in (repetition_ran_away([0.02, 0.02, 0.1, 0.2, 0.3]) or "")


def test_a_critic_below_0_for_long() -> None:
    assert critic_useless([-1.0] * (MANY - 1)) is None
    assert critic_useless([-1.0] * (MANY - 1) + [0.0]) is None
    assert "-0.25 at best" in (critic_useless([0.5, -0.25] + [-1.0] * (MANY - 1)) or "")


def test_rewards_part_beyond_the_noise_of_pairs() -> None:
    before = Check([0.0, 1.0, 2.0, 3.0], [3.0, 2.0, 1.0, 0.0])
    # Prompts differ far more than checks do, and what is compared are the same prompts.
    after = Check([0.3, 1.2, 2.4, 3.3], [2.8, 1.7, 0.8, -0.3])
    assert "rose by 0.30 over 3 checks, the general reward model's fell by 0.25" in (
        rewards_parted(before, after) or ""
    )
    assert rewards_parted(after, before) is None  # the general one alone rises
    noisy = Check(after.composite, [2.8, 2.3, 0.2, 0.1])  # falls by 0.15, and no one can tell
    assert rewards_parted(before, noisy) is None
    assert rewards_parted(before, Check(after.composite, before.general)) is None
    assert rewards_parted(Check([0.0] * 4, []), Check([1.0] * 4, [])) is None


def test_scores_that_are_none_are_left_out_of_the_pairs() -> None:
    before = Check([0.0, None, 2.0], [3.0, 2.0, 1.0])
    after = Check([0.3, 9.0, 2.4], [2.8, 2.2, None])
    assert rewards_parted(before, after) is None
    after = Check([0.30, 9.0, 2.31], [2.8, 1.79, 0.81])
    assert "rose by 0.31" in (rewards_parted(before, after) or "")


def watched(watch: Watch, iterations: range, **changes: Any) -> list[dict[str, str]]:
    return [watch.alarms(HEALTHY | {"iteration": n} | changes) for n in iterations]


def test_a_healthy_run_is_left_alone() -> None:
    watch = Watch("float32")
    assert watched(watch, range(1, 30)) == [{}] * 29
    assert watch.found == {}


def test_what_lasts_is_counted() -> None:
    watch = Watch("float32")
    watched(watch, range(1, 5))
    watched(watch, range(5, 8), ratio_gap=0.5)
    watched(watch, range(8, 9))
    assert watched(watch, range(9, 10), ratio_gap=0.25)[0].keys() == {"ratio"}
    found = watch.found["ratio"]
    assert (found["first"], found["last"], found["iterations"]) == (5, 9, 4)
    assert "0.5 off 1" in found["said"]


def test_parted_rewards_are_looked_at_with_each_check_alone() -> None:
    watch = Watch("float32")
    for number in range(CHECKS + 1):
        watch.check(Check([number, number + 0.1], [-number, -number - 0.1]))
    assert watched(watch, range(1, 2)) == [{}]
    assert watched(watch, range(2, 3), held_out=3.0)[0].keys() == {"reward"}


def test_it_goes_on_as_if_never_stopped() -> None:
    watch, again = Watch("float32"), Watch("float32")
    for number in range(CHECKS):
        watch.check(Check([number, number + 0.1, None], [-number, -number - 0.1, 1.0]))
    watched(watch, range(1, 2 * FEW), explained_variance=-1.0, kl=-1.0)
    again.load_state(json.loads(json.dumps(watch.state())))
    assert again.state() == watch.state()
    for one in (watch, again):
        one.check(Check([5.0, 5.0, 5.0], [-5.0, -5.0, -5.0]))
    more: dict[str, Any] = {"length": 99.0, "explained_variance": -1.0, "held_out": 5.0}
    expected = watched(watch, range(2 * FEW, MANY + 2), **more)
    assert watched(again, range(2 * FEW, MANY + 2), **more) == expected
    assert expected[-1].keys() == {"length", "critic", "reward"}
    assert again.found == watch.found
    fresh = Watch("float32")
    fresh.load_state({})
    assert fresh.state() == Watch("float32").state()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_limit_is_that_of_the_samplers_type(precision: Any) -> None:
    found = watched(Watch(precision), range(1, 2), sampler_gap=1e-3)[0]
    assert ("sampler" in found) == (precision == "float32")
