"""Margins of one's own."""

from __future__ import annotations

import pytest

from arriero.equations.ranking import MARGINS
from arriero.records import Rating, UserError
from arriero.road.recipe import load_recipe, to_toml
from arriero.stages.reward_config import RewardConfig


def test_the_named_margins() -> None:
    assert RewardConfig().margin_of == MARGINS["small"]
    assert RewardConfig(margin="large").margin_name == "large"


def test_a_table_of_ones_own_takes_the_place_of_the_name() -> None:
    table = dict(zip(Rating, (4.0, 2.5, 1.0, 0.5), strict=True))
    config = RewardConfig(margin="large", margins=table)
    assert config.margin_of == {**table, None: 0.0}
    assert config.margin_name == "own"


def test_margins_of_the_command_line_and_back_from_toml() -> None:
    given = ["significantly_better=4", "better=2.5", "negligibly_better=0", "slightly_better=1"]
    recipe = load_recipe("tiny", {"reward.margins": given})
    assert list(recipe.reward.margins.values()) == [4.0, 2.5, 1.0, 0.0]
    text = to_toml(recipe)
    assert "[reward.margins]\nsignificantly_better = 4.0\nbetter = 2.5\n" in text


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (["better=1"], r"no margin for significantly_better, slightly_better, negligibly_better"),
        (["best=1"], r"reward\.margins"),
        (["better"], r"'better' is no NAME=NUMBER"),
        (["better=1", "better=2"], r"a name is given twice"),
        ([f"{r.value}=-1" for r in Rating], r"greater than or equal to 0"),
    ],
)
def test_tables_that_are_refused(given: list[str], line: str) -> None:
    with pytest.raises(UserError, match=line):
        load_recipe("tiny", {"reward.margins": given})
