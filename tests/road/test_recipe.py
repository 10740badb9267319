"""Recipes: every key, its mistakes named, and the way to TOML and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from arriero.model.config import LLAMA2_7B, LLAMA2_13B, LLAMA2_34B, LLAMA2_70B
from arriero.records import UserError
from arriero.road.recipe import Recipe, leaf_fields, load_recipe, recipe_names, to_toml

KEYS = [key for key, _, _ in leaf_fields()]


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_survives_toml(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    path = tmp_path / "again.toml"
    path.write_text(to_toml(recipe))
    assert load_recipe(str(path)) == recipe


def test_a_key_without_a_value_is_left_out_of_toml(tmp_path: Path) -> None:
    path = tmp_path / "again.toml"
    for width in (None, 12):
        model = load_recipe("tiny").model.model_copy(update={"head_width": width})
        recipe = load_recipe("tiny").model_copy(update={"model": model})
        path.write_text(to_toml(recipe))
        assert ("head_width" in path.read_text()) is (width is not None)
        assert load_recipe(str(path)) == recipe
    assert load_recipe("tiny", {"model.head_width": "12"}).model.head_width == 12


def test_weights_on_the_command_line_and_in_toml(tmp_path: Path) -> None:
    recipe = load_recipe("tiny", {"data.weights": ["school book=2", "a=b=.5"]})
    assert recipe.data.weights == {"school book": 2.0, "a=b": 0.5}
    path = tmp_path / "again.toml"
    path.write_text(to_toml(recipe))
    assert '"school book" = 2.0\n' in path.read_text()
    assert load_recipe(str(path)) == recipe
    assert load_recipe(str(path), {"data.weights": ["a=1"]}).data.weights == {"a": 1.0}


def test_the_published_sizes() -> None:
    models = {"7b": LLAMA2_7B, "13b": LLAMA2_13B, "34b": LLAMA2_34B, "70b": LLAMA2_70B}
    for size, model in models.items():
        recipe = load_recipe(f"llama2-{size}")
        assert recipe.model == model
        assert recipe.pretrain.tokens_per_step == 4_194_304
        assert recipe.sft.optimizer.peak == 2e-5
        large = size in ("34b", "70b")
        assert recipe.ppo.beta == (0.005 if large else 0.01)
        assert recipe.pretrain.optimizer.peak == (1.5e-4 if large else 3e-4)


def test_every_key_says_what_it_is() -> None:
    silent = [key for key, model, name in leaf_fields() if not model.model_fields[name].description]
    assert silent == []
    assert len(KEYS) == len(set(KEYS))
    assert {"seed", "ppo.optimizer.peak", "data.world.seed", "rejection.sft.epochs"} <= set(KEYS)


def test_overrides_reach_any_depth() -> None:
    recipe = load_recipe(
        "tiny",
        {
            "ppo.optimizer.peak": "2e-5",
            "rejection.temperatures": ["0.5", "1"],
            "data.world.documents": 10,
        },
    )
    assert recipe.ppo.optimizer.peak == 2e-5
    assert recipe.rejection.temperatures == (0.5, 1.0)
    assert recipe.data.world.documents == 10
    plain = load_recipe("tiny")
    # What stands beside an overridden key in its table stays.
    assert recipe.ppo.optimizer.warmup_steps == plain.ppo.optimizer.warmup_steps
    assert recipe.ppo.iterations == plain.ppo.iterations


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("ppo.itrations", "ppo.iterations"),
        ("sft.learning_rate", "sft."),
        ("sedd", "seed"),
        ("iterations", "ppo.iterations"),
        ("model.layers", "model.num_layers"),
    ],
)
def test_an_unknown_key_is_told_the_nearest(key: str, near: str) -> None:
    with pytest.raises(UserError, match=rf"^unknown key {key}; did you mean {near}"):
        load_recipe("tiny", {key: 1})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"ppo.iterations": "many"}, r"tiny: key ppo\.iterations: .*integer.* \(given 'many'\)"),
        ({"ppo.iterations": 0}, r"key ppo\.iterations: .*greater than 0"),
        ({"device": "tpu"}, r"key device: .*'cpu'.*\(given 'tpu'\)"),
        ({"model.num_heads": 7}, r"key model: dim 128 must be an even multiple"),
        ({"sft.row_length": 512}, r"tiny: sft\.row_length is 512, the model's context 256"),
        ({"sft.replay_length": 512}, r"sft\.replay_length is 512, the model's context 256"),
        ({"data.world.safety_share": 0.9, "data.world.borderline_share": 0.1}, r"no ordinary"),
        ({"data.world.open_comparisons": 9}, r"open_comparisons would count .* --mix.open crowd"),
        ({"mix.open": ["crowdd"]}, r"the world has no open source 'crowdd'; say crowd"),
        ({"mix.safety.all": ["own saftey"]}, r"'own saftey' is no part; say own, open"),
        ({"mix.safety.all": ["saftey"]}, r"'saftey' is no part; say own, open"),
        (
            {
                "mix.helpfulness.all": ["own helpfulness"],
                "mix.helpfulness.rest": ["own helpfulness"],
            },
            r"'own helpfulness' is named twice",
        ),
        ({"rejection.temperatures": []}, r"key rejection\.temperatures: .*at least 1"),
        ({"data.weights": ["a=0"]}, r"key data\.weights\.a: .*greater than 0 \(given '0'\)"),
        ({"data.weights": ["a=-1"]}, r"key data\.weights\.a: .*greater than 0"),
        ({"data.weights": {"a": float("nan")}}, r"key data\.weights\.a: .*(finite|greater)"),
        ({"data.weights": ["a=inf"]}, r"key data\.weights\.a: .*finite"),
        ({"data.weights": ["a=much"]}, r"key data\.weights\.a: .*number"),
        ({"data.weights": ["a=1", "b"]}, r"key data\.weights: 'b' is no NAME=NUMBER"),
        ({"pretrain.tokens_per_step": 1000}, r"pretrain: .* no multiple of row_length 128; .* 896"),
        ({"pretrain.tokens_per_step": 100}, r"no multiple of row_length 128; name 128 or another"),
    ],
)
def test_a_value_that_does_not_fit_is_one_line(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_recipe("tiny", values)
    assert "\n" not in str(caught.value)


def test_a_recipe_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no recipe 'tny'; there are .*tiny.*\.toml"):
        load_recipe("tny")
    with pytest.raises(UserError, match=r"mine\.toml: no such recipe file"):
        load_recipe(str(tmp_path / "mine.toml"))
    path = tmp_path / "broken.toml"
    path.write_text("seed = = 1")
    with pytest.raises(UserError, match=r"broken\.toml: not valid TOML \(.*line 1"):
        load_recipe(str(path))


@pytest.mark.parametrize(
    ("stage", "peak", "warmup"), [("sft", 2e-5, 0), ("ppo", 1e-6, 0), ("reward", 1e-5, 2000)]
)
def test_one_optimizer_key_leaves_the_others_as_the_stage_has_them(
    stage: str, peak: float, warmup: int
) -> None:
    recipe = load_recipe("llama2-7b", {f"{stage}.optimizer.clip": 0.5})
    optimizer = getattr(recipe, stage).optimizer
    assert (optimizer.clip, optimizer.peak, optimizer.warmup_steps) == (0.5, peak, warmup)


def test_a_scaled_budget_is_never_larger_than_the_given_one() -> None:
    given = {"rejection.max_prompts": 8, "data.max_dialogs": 50, "ppo.held_out_prompts": 4}
    tenth = load_recipe("laptop", given | {"scale": 0.1})
    assert tenth.rejection.max_prompts <= 8
    assert tenth.data.max_dialogs <= 50
    assert tenth.ppo.held_out_prompts <= 4


def test_a_key_under_something_that_is_no_table(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('model = "large"\n')
    with pytest.raises(UserError, match="model of the recipe is a table of keys, not 'large'"):
        load_recipe(str(path), {"model.dim": 64})


def test_a_file_is_named_after_itself(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("seed = 3\n")
    recipe = load_recipe(str(path))
    assert (recipe.name, recipe.seed) == ("mine", 3)
    assert recipe == Recipe(name="mine", seed=3)


def test_scale_by_hand() -> None:
    """A tenth of every budget; shares, sizes, seeds and rates stay."""
    budgets = {
        "pretrain.num_tokens": 2_600_000,
        "data.world.documents": 65_000,
        "data.world.demonstrations": 5_000,
        "ppo.iterations": 24,
        "evaluate.prompts_per_set": 1_000,
        "preferences.max_pairs": 300,
        "rejection.max_prompts": 0,
    }
    whole, tenth = (load_recipe("tiny", budgets | {"scale": scale}) for scale in (1.0, 0.1))
    assert tenth.scale == 1.0
    assert tenth.pretrain.num_tokens == 260_000
    assert tenth.data.world.documents == 6_500
    assert tenth.data.world.demonstrations == 500
    assert tenth.ppo.iterations == 2
    assert tenth.evaluate.prompts_per_set == 100
    assert tenth.evaluate.judge.pairs == 30
    assert tenth.preferences.max_pairs == 100  # 30 would be too few to learn from
    assert tenth.rejection.max_prompts == 0  # 0 takes all, whatever the scale
    world = tenth.data.world
    assert (world.seed, world.safety_share) == (0, whole.data.world.safety_share)
    assert tenth.model == whole.model
    assert tenth.sft == whole.sft
    assert load_recipe("tiny", {"scale": 0.001}).data.world.test_prompts == 50
    assert Recipe.model_validate(tenth.model_dump()) == tenth


@pytest.mark.parametrize("key", ["sft", "reward", "rejection.sft", "ppo"])
def test_adapters_as_wide_as_the_model_are_refused_before_anything_runs(key: str) -> None:
    assert load_recipe("tiny", {f"{key}.lora.rank": "4"})
    with pytest.raises(UserError, match=rf"^{key}.lora.rank 512 is no lower than the rank of"):
        load_recipe("tiny", {f"{key}.lora.rank": "512"})
