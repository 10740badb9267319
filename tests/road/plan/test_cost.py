from __future__ import annotations

import pytest

from arriero.road.plan.cost import (
    TABLE_2,
    default_utilisation,
    paper_row,
    pretraining_cost,
)
from arriero.road.plan.devices import DEVICES, PAPERS_DEVICE, device_named
from arriero.road.recipe import load_recipe

RECIPES = {
    "llama2-7b": (184_320, 31.22),
    "llama2-13b": (368_640, 62.44),
    "llama2-34b": (1_038_336, 153.90),
    "llama2-70b": (1_720_320, 291.42),
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_published_size_takes_the_hours_of_table_2(name: str) -> None:
    recipe, device = load_recipe(name), DEVICES[PAPERS_DEVICE]
    utilisation, source = default_utilisation(recipe, device)
    cost = pretraining_cost(recipe, device, 64, utilisation, recipe.watts)
    hours, tonnes = RECIPES[name]
    assert "Table 2" in source
    assert cost.hours == pytest.approx(hours, abs=0.01)
    assert abs(cost.tonnes - tonnes) < 0.01


def test_all_four_sizes_together() -> None:
    total = 0.0
    for name in RECIPES:
        recipe, device = load_recipe(name), DEVICES[PAPERS_DEVICE]
        utilisation, _ = default_utilisation(recipe, device)
        total += pretraining_cost(recipe, device, 8, utilisation, recipe.watts).tonnes
    assert total == pytest.approx(539.00, abs=0.005)
    assert sum(row.hours for row in TABLE_2) == 3_311_616


def test_utilisation_of_7b_by_hand() -> None:
    """6 x 6,607,343,616 weights that multiply + 6 x 32 x 4,096 x 4,096 a token, times 2T."""
    a_token = 6 * (6_738_415_616 - 32_000 * 4096) + 6 * 32 * 4096 * 4096
    row = paper_row(load_recipe("llama2-7b").model)
    assert row is not None
    assert row.utilisation == pytest.approx(a_token * 2e12 / (184_320 * 3600 * 312e12))
    assert row.utilisation == pytest.approx(0.4141, abs=1e-4)


def test_a_step_by_hand() -> None:
    """A step's operations over what eight H100s do at half their peak."""
    recipe = load_recipe("llama2-7b")
    cost = pretraining_cost(recipe, device_named("h100"), 8, 0.5, 700)
    flops = 1024 * 4096 * recipe.model.flops_per_token(4096)
    assert cost.step_s == pytest.approx(flops / (8 * 989e12 * 0.5))
    assert cost.tokens_s == pytest.approx(1024 * 4096 / cost.step_s)
    assert cost.wall_s == pytest.approx(cost.hours * 3600 / 8)
    assert cost.kwh == pytest.approx(cost.hours * 0.7)
    assert cost.tonnes == pytest.approx(cost.kwh * 0.4235 / 1000)


def test_device_hours_do_not_depend_on_the_number_of_devices() -> None:
    recipe, device = load_recipe("llama2-13b"), device_named("h200")
    one, many = (pretraining_cost(recipe, device, n, 0.4, 700) for n in (1, 256))
    assert one.hours == pytest.approx(many.hours)
    assert one.step_s == pytest.approx(256 * many.step_s)


def test_another_grid() -> None:
    dirty = load_recipe("llama2-7b", {"carbon_intensity": 0.847})
    clean = load_recipe("llama2-7b")
    device = DEVICES[PAPERS_DEVICE]
    tonnes = [pretraining_cost(r, device, 1, 0.4, 400).tonnes for r in (clean, dirty)]
    assert tonnes[1] == pytest.approx(2 * tonnes[0])


def test_only_the_papers_shapes_on_its_device_have_its_utilisation() -> None:
    recipe = load_recipe("llama2-7b")
    assert default_utilisation(recipe, device_named("h100")) == (0.4, "assumed")
    wider = load_recipe("llama2-7b", {"model.ffn_dim": 11_264})
    assert paper_row(wider.model) is None
    assert default_utilisation(wider, DEVICES[PAPERS_DEVICE]) == (0.4, "assumed")
