"""How answers are dealt into mini-batches and ranks, and which updates are taken."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import pytest
import torch

from arriero.stages.ppo_update import Guards, Step, divided
from arriero.stages.workspace import ALONE, Ranks
from arriero.training.guards import Verdict

CPU = torch.device("cpu")
# Sorted by length, the earlier of two alike first: 4, 2, 0, 1, 3, 6, 5.
LENGTHS = [7, 8, 6, 9, 5, 11, 10]
FINE = Step(0.1, 0.5, 1.0, 0.0, 0.4, 0.6)


@dataclass(frozen=True, slots=True)
class OneOf(Ranks):
    """A rank among others, as far as its share of the answers goes."""

    number_of_share: int = 0
    shares: int = 1

    @property
    def dp_rank(self) -> int:
        return self.number_of_share

    @property
    def dp_size(self) -> int:
        return self.shares


def test_mini_batches_hold_every_answer_once() -> None:
    found = divided(LENGTHS, 3, 0, CPU, ALONE)
    assert {tuple(rows.tolist()) for rows, _ in found} == {(4, 2, 0), (1, 3, 6), (5,)}
    for rows, parts in found:
        assert torch.equal(torch.cat(parts), rows)
    first = {int(divided(LENGTHS, 3, seed, CPU, ALONE)[0][0][0]) for seed in range(20)}
    assert first == {4, 1, 5}


@pytest.mark.parametrize("num_ranks", [2, 3, 4])
def test_ranks_share_the_mini_batches_of_one_process(num_ranks: int) -> None:
    alone = divided(LENGTHS, 3, 0, CPU, ALONE)
    of_all = [
        divided(LENGTHS, 3, 0, CPU, OneOf(number_of_share=number, shares=num_ranks))
        for number in range(num_ranks)
    ]
    for number, (rows, _) in enumerate(alone):
        shares = [own[number] for own in of_all]
        assert all(torch.equal(all_rows, rows) for all_rows, _ in shares)
        taken = torch.cat([part for _, parts in shares for part in parts])
        assert sorted(taken.tolist()) == sorted(rows.tolist())
        # They go through the models at the same pace, some of them with nothing.
        assert len({len(parts) for _, parts in shares}) == 1


def test_long_answers_make_more_parts_on_all_ranks() -> None:
    """4,096 tokens at once: one rank has an answer of 100 and one of 3,000 tokens, in two parts."""
    for number, expected in enumerate([[[0], [2]], [[1], []]]):
        rank = OneOf(number_of_share=number, shares=2)
        [(_, parts)] = divided([100, 3000, 3000], 3, 0, CPU, rank)
        assert [part.tolist() for part in parts] == expected


def judged(guards: Guards, step: Step, policy_learns: bool = True, times: int = 1) -> Verdict:
    verdicts: list[Verdict] = [guards.judge(step, policy_learns) for _ in range(times)]
    return verdicts[-1]


@pytest.mark.parametrize(
    "worse",
    [{"policy_loss": 9.0}, {"value_loss": 90.0}, {"grad_norm": 50.0}, {"critic_grad_norm": 60.0}],
)
def test_a_jump_of_either_is_a_spike(worse: dict[str, float]) -> None:
    guards = Guards(clip=1.0)
    assert judged(guards, FINE, times=25) == "ok"
    assert judged(guards, replace(FINE, **worse)) == "spike"
    assert guards.bad_in_a_row == 1
    assert judged(guards, FINE) == "ok"
    assert guards.bad_in_a_row == 0


@pytest.mark.parametrize(
    "name", ["policy_loss", "value_loss", "ratio", "grad_norm", "critic_grad_norm"]
)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_never_taken(name: str, value: float) -> None:
    guards = Guards(clip=1.0)
    step = replace(FINE, **{name: value})
    assert judged(guards, step, times=3) == "not finite"
    assert guards.bad_in_a_row == 3


def test_a_policy_that_does_not_learn_yet_is_no_measure_for_one_that_does() -> None:
    """Its gradient is 0 while the critic warms up; the first real one would stand out forever."""
    guards = Guards(clip=1.0)
    assert judged(guards, replace(FINE, grad_norm=0.0), policy_learns=False, times=30) == "ok"
    assert judged(guards, replace(FINE, grad_norm=8.0)) == "ok"


@pytest.mark.parametrize(
    ("steep", "worse"), [("policy", {"grad_norm": 50.0}), ("critic", {"critic_grad_norm": 60.0})]
)
def test_what_is_left_out_for_one_is_no_example_for_the_other(
    steep: str, worse: dict[str, float]
) -> None:
    """Neither takes a number of an update that was not taken for what healthy ones look like."""
    guards = Guards(clip=1.0)
    judged(guards, FINE, times=25)
    before = guards.state()
    assert judged(guards, replace(FINE, value_loss=FINE.value_loss + 0.01, **worse)) == "spike"
    after = guards.state()
    for name in ("policy", "critic"):
        assert after[name] == before[name] | {"bad_in_a_row": 1, "is_steep": name == steep}


def test_guards_go_on_as_if_never_stopped() -> None:
    guards, again = Guards(clip=1.0), Guards(clip=1.0)
    judged(guards, FINE, times=25)
    judged(guards, replace(FINE, grad_norm=50.0))
    again.load_state(json.loads(json.dumps(guards.state())))
    assert again.state() == guards.state()
    assert again.bad_in_a_row == 1
    assert judged(again, replace(FINE, value_loss=90.0)) == "spike"
    assert again.bad_in_a_row == 2
    fresh = Guards(clip=1.0)
    fresh.load_state({})
    assert fresh.state() == Guards(clip=1.0).state()
