"""The forecast by hand, at a machine of known speed."""

from __future__ import annotations

import pytest

from arriero.road import forecast as room
from arriero.road.forecast import forecast
from arriero.road.recipe import Recipe, load_recipe


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> Recipe:
    monkeypatch.setattr(room, "matmul_flops", lambda recipe: 1e12)
    return load_recipe("tiny", {"pretrain.num_tokens": 2_600_000})


def test_training_tokens_by_hand(recipe: Recipe) -> None:
    """Twice the pretraining tokens: as many more at 45% of the machine's speed."""
    more = recipe.model_copy(
        update={"pretrain": recipe.pretrain.model_copy(update={"num_tokens": 5_200_000})}
    )
    flops = recipe.model.flops_per_token(recipe.pretrain.row_length)
    expected = 2_600_000 * flops / (1e12 * 0.45) / 60
    assert forecast(more).minutes - forecast(recipe).minutes == pytest.approx(expected)


def test_sampling_costs_a_forward_pass(recipe: Recipe) -> None:
    few, many = (
        recipe.model_copy(
            update={"evaluate": recipe.evaluate.model_copy(update={"prompts_per_set": count})}
        )
        for count in (100, 300)
    )
    flops = recipe.model.flops_per_token(recipe.pretrain.row_length) / 3
    # Four versions, three sets, 200 prompts more, 32 tokens each.
    expected = 4 * 3 * 200 * 32 * flops / (1e12 * 0.12) / 60
    assert forecast(many).minutes - forecast(few).minutes == pytest.approx(expected)


def test_versions_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two SFT versions, five of rejection sampling and PPO make nine models with the base."""
    monkeypatch.setattr(room, "matmul_flops", lambda recipe: 1e12)
    versions = load_recipe("tiny-versions", {"versions.rlhf": 5, "versions.sft": 2})
    more = versions.model_copy(
        update={"evaluate": versions.evaluate.model_copy(update={"prompts_per_set": 1200})}
    )
    flops = versions.model.flops_per_token(versions.pretrain.row_length) / 3
    expected = 9 * 3 * 200 * 32 * flops / (1e12 * 0.12) / 60
    assert forecast(more).minutes - forecast(versions).minutes == pytest.approx(expected)
    # Comparisons of k versions are learned from in the k-th: 1 + 2 + 3 + 4 + 5 of them.
    pairs = versions.data.world.preference_prompts
    longer = versions.model_copy(
        update={"reward": versions.reward.model_copy(update={"epochs": 2})}
    )
    tokens = 2 * 2 * pairs * 64 * 15
    flops = versions.model.flops_per_token(versions.pretrain.row_length)
    expected = tokens * flops / (1e12 * 0.45) / 60
    assert forecast(longer).minutes - forecast(versions).minutes == pytest.approx(expected)


def test_disk_by_hand(recipe: Recipe) -> None:
    expected = recipe.model.num_parameters * 4 * 16 + 2_600_000 * 8
    assert forecast(recipe).disk_gb == pytest.approx(expected / 1e9)


def test_a_slower_machine_takes_longer(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = forecast(recipe).minutes
    monkeypatch.setattr(room, "matmul_flops", lambda recipe: 1e11)
    assert forecast(recipe).minutes == pytest.approx(10 * fast)


def test_this_machine_has_a_speed() -> None:
    assert room.matmul_flops(load_recipe("tiny", {"device": "cpu"})) > 1e8


def test_less_of_ones_own_data_takes_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "matmul_flops", lambda recipe: 1e11)
    files = {f"data.{kind}": ["x"] for kind in ("corpus", "instructions", "helpfulness", "safety")}
    minutes = [
        forecast(load_recipe("laptop", files | {"scale": scale})).minutes
        for scale in (0.05, 1.0, 2.0)
    ]
    assert minutes[0] < minutes[1] / 8
    assert minutes[2] == pytest.approx(2 * minutes[1], rel=0.15)
