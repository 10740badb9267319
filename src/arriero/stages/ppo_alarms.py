"""What tells a broken PPO from a healthy one: rules on its figures (section 3.2.3).

The paper names one such sign, a reward that rises while a general reward model's falls (section
3.4); the others, and every limit here, are ours. An alarm stops nothing: it is said, and kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

from arriero.equations.intervals import paired_interval
from arriero.training.parallel import Precision

RATIO = 1e-5
"""How far a ratio of the first mini-batch may be from 1; nothing was learned yet."""
GAP: Mapping[Precision, float] = {"float32": 1e-4, "bfloat16": 3e-2}
"""Nats a token that sampler and trainer may be apart, by the type that the sampler computes in."""
ERRORS = 3.0
"""Standard errors: while the KL is nearly 0 one of them is crossed by chance every few times."""
CHECKS = 3
"""Checks on held-out prompts over which two reward models may part."""
FEW, MANY = 3, 10
"""Last iterations that a mean is taken of; those that a critic may explain nothing in."""
TIMES = 2.0
"""Longer or shorter than at the start by this, answers run away."""
REPEATED = 0.1
"""Further share of repeated n-grams that is too much."""


class Check(NamedTuple):
    """Raw scores of the same held-out prompts, in the same order; None is no finite score.

    Attributes:
        composite: what the policy is trained towards.
        general: of a reward model that neither trained nor chose; empty without one.
    """

    composite: list[float | None]
    general: list[float | None]


def off_policy(ratio_gap: float) -> str | None:
    """The first mini-batch of an iteration meets the policy that its log-probabilities are of."""
    if ratio_gap <= RATIO:
        return None
    return f"a ratio of the first mini-batch is {ratio_gap:.2g} off 1, at most {RATIO:g} is healthy"


def sampler_parted(gap: float, precision: Precision) -> str | None:
    """Sampler and trainer give the same tokens the same log-probability, but for rounding."""
    if gap <= GAP[precision]:
        return None
    return (
        f"sampler and trainer are {gap:.2g} nats a token apart, at most {GAP[precision]:g} is "
        "healthy: answers come from another policy"
    )


def kl_negative(mean: float, error: float) -> str | None:
    """A KL is not negative; only an estimate on samples of another policy goes on being so."""
    if mean >= -ERRORS * error:
        return None
    return f"the KL from the start is {mean:.3g} an answer, below 0 by far more than {error:.2g}"


def length_ran_away(lengths: Sequence[float]) -> str | None:
    """Answers of the last iterations beside those of the starting policy: far longer or shorter."""
    if len(lengths) <= FEW:
        return None
    first, last = lengths[0], fmean(lengths[-FEW:])
    if first / TIMES < last < first * TIMES:
        return None
    return f"answers have {last:.1f} tokens, at the start they had {first:.1f}"


def repetition_ran_away(shares: Sequence[float]) -> str | None:
    """The share of n-grams that repeat themselves, beside that of the starting policy."""
    if len(shares) <= FEW:
        return None
    first, last = shares[0], fmean(shares[-FEW:])
    if last <= first + REPEATED:
        return None
    return f"{last:.0%} of an answer's trigrams repeat themselves, at the start it was {first:.0%}"


def critic_useless(explained: Sequence[float]) -> str | None:
    """A critic that is worse than a constant for long only adds noise to the advantages."""
    last = explained[-MANY:]
    if len(last) < MANY or max(last) >= 0:
        return None
    return f"the critic explains nothing: variance {max(last):.2f} at best in {MANY} iterations"


def rewards_parted(before: Check, after: Check) -> str | None:
    """The reward that is trained on rose while the general one fell, both beyond the noise.

    Beyond the noise is outside the 95% interval of the mean of paired differences: healthy runs
    raise the first at every check, so the second must not cry at one standard error.
    """
    differences = [
        [b - a for a, b in zip(*scores, strict=True) if a is not None and b is not None]
        for scores in zip(before, after, strict=True)
    ]
    if min(map(len, differences)) < 2:
        return None
    trained, general = map(paired_interval, differences)
    if trained.low <= 0 or general.high >= 0:
        return None
    return (
        f"the reward on held-out prompts rose by {trained.value:.2f} over {CHECKS} checks, the "
        f"general reward model's fell by {-general.value:.2f}: the reward is being gamed"
    )


class Watch:
    """Applies the rules iteration after iteration.

    Given the same figures it says the same, so ranks agree, and one that goes on from `state()`
    watches as if it had never stopped.

    Attributes:
        found: of each alarm that was ever raised: what was said first, the first and the last
            iteration, and in how many.
    """

    def __init__(self, precision: Precision) -> None:
        self.found: dict[str, dict[str, Any]] = {}
        self._precision: Precision = precision
        self._series: dict[str, list[float]] = {
            name: [] for name in ("length", "repetition", "explained_variance")
        }
        self._checks: list[Check] = []

    def check(self, check: Check) -> None:
        """Take in the scores of a check on held-out prompts, that of the start too."""
        self._checks = [*self._checks, check][-CHECKS - 1 :]

    def alarms(self, figures: Mapping[str, Any]) -> dict[str, str]:
        """What is wrong after an iteration, by the name of the rule."""
        for name, values in self._series.items():
            values.append(float(figures[name]))
        said = {
            "ratio": off_policy(figures["ratio_gap"]),
            "sampler": sampler_parted(figures["sampler_gap"], self._precision),
            "kl": kl_negative(figures["kl"], figures["kl_error"]),
            "length": length_ran_away(self._series["length"]),
            "repetition": repetition_ran_away(self._series["repetition"]),
            "critic": critic_useless(self._series["explained_variance"]),
        }
        if "held_out" in figures and len(self._checks) > CHECKS:
            said["reward"] = rewards_parted(self._checks[0], self._checks[-1])
        alarms = {name: line for name, line in said.items() if line is not None}
        for name, line in alarms.items():
            self._note(name, line, int(figures["iteration"]))
        return alarms

    def _note(self, name: str, line: str, iteration: int) -> None:
        found = self.found.setdefault(name, {"said": line, "first": iteration, "iterations": 0})
        found |= {"last": iteration, "iterations": found["iterations"] + 1}

    def state(self) -> dict[str, Any]:
        """All that later alarms follow from, as JSON takes it."""
        return {"found": self.found, "series": self._series, "checks": self._checks}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave; an empty one is a fresh start."""
        self.found = dict(state.get("found", {}))
        self._series |= state.get("series", {})
        self._checks = [Check(*check) for check in state.get("checks", [])]
