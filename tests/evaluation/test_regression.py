"""The watch over capabilities, by hand; and whether two judges move together."""

from __future__ import annotations

import pytest

from arriero.evaluation.graded import GradedAnswer
from arriero.evaluation.regression import LEAST_PROMPTS, capabilities, moves_together
from arriero.records import Grade, Message, Prompt
from arriero.records.prompt import Track


def answer(
    is_right: bool | None,
    *,
    category: str = "rhyme",
    score: float = 0.0,
    track: Track = "helpfulness",
) -> GradedAnswer:
    prompt = Prompt("id", (Message("user", "?"),), track, category)
    grade = None
    if is_right is not None:
        grade = Grade(
            helpfulness=float(is_right),
            safety=1.0,
            is_right=is_right,
            is_violation=False,
            is_refusal=False,
            label="helpful" if is_right else "wrong",
        )
    return GradedAnswer(prompt, "text", 1, score, score, score, grade)


def test_what_a_version_lost_by_hand() -> None:
    """20 of 20 rhymes, then 10 of 20: a loss of a half. Sums stay at 15 of 20."""
    sums = [answer(n < 15, category="sum") for n in range(20)]
    graded = {
        "v1": {"ordinary": [answer(True)] * 20 + sums},
        "v2": {"ordinary": [answer(n % 2 == 0) for n in range(20)] + sums},
    }
    found = capabilities(graded)
    assert found["measure"] == "right"
    assert found["prompts"] == {"rhyme": 20, "sum": 20}
    assert found["by_category"]["rhyme"] == {"v1": 1.0, "v2": 0.5}
    assert found["by_category"]["sum"] == {"v1": 0.75, "v2": 0.75}
    (loss,) = found["losses"]
    assert (loss["category"], loss["version"], loss["before"]) == ("rhyme", "v2", "v1")
    # Differences of 0 and -1 by turns: mean -1/2, standard error sqrt(0.25 * 20 / 19 / 20).
    assert loss["difference"] == pytest.approx(-0.5)
    assert loss["high"] == pytest.approx(-0.5 + 1.96 * (0.25 / 19) ** 0.5)


def test_little_is_said_of_few_prompts_and_nothing_of_safety() -> None:
    few = [answer(True)] * (LEAST_PROMPTS - 1)
    safe = [answer(True, category="danger", track="safety")] * 20
    assert capabilities({"v1": {"a": few, "b": safe}})["by_category"] == {}


def test_without_an_oracle_the_reward_model_says() -> None:
    graded = {
        "v1": {"x": [answer(None, score=0.0)] * 10},
        "v2": {"x": [answer(None, score=9.0)] * 10},
    }
    found = capabilities(graded)
    assert found["measure"] == "reward"
    assert found["by_category"]["rhyme"]["v1"] == pytest.approx(0.5)
    assert found["losses"] == []
    assert moves_together(graded) == {"answers": None, "versions": None}


def test_judges_that_move_together() -> None:
    """Scores 0, 1, 2 for versions with 0, half and all right: one order."""
    graded = {
        f"v{score}": {"x": [answer(n < 5 * score, score=float(score)) for n in range(10)]}
        for score in range(3)
    }
    found = moves_together(graded)
    assert found["versions"] == pytest.approx(1.0)
    assert found["answers"] is not None
    assert 0.5 < found["answers"] < 1.0
