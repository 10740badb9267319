from __future__ import annotations

import copy

import pytest

from arriero.model.heads import LanguageModel, ScoreModel
from arriero.model.lora import with_adapters
from arriero.road.plan.layout import Layout
from arriero.road.plan.memory import own_parameters, sampler_cache
from arriero.road.plan.stages import STAGES, sequence_length, stage_memory
from arriero.road.recipe import Recipe, load_recipe

CPU = Layout(1, is_gpu=False)


def memory(recipe: Recipe, layout: Layout, name: str):
    return stage_memory(recipe, layout, (name,))[0]


def test_all_stages_that_train() -> None:
    assert tuple(stage.name for stage in stage_memory(load_recipe("tiny"), CPU)) == STAGES


@pytest.mark.parametrize("name", ["pretrain", "sft", "reward", "ppo"])
def test_more_devices_need_less_each(name: str) -> None:
    recipe = load_recipe("llama2-70b")
    totals = [memory(recipe, Layout(n), name).parts.total for n in (8, 16, 32, 64)]
    assert totals == sorted(totals, reverse=True)
    assert len(set(totals)) == 4


@pytest.mark.parametrize("name", ["pretrain", "sft", "reward"])
def test_recomputation_needs_less(name: str) -> None:
    recipe = load_recipe("llama2-7b")
    kept, again = (
        memory(recipe, Layout(8, recompute=recompute), name).parts for recompute in (False, True)
    )
    assert again.activations < kept.activations / 4
    assert (again.weights, again.optimizer) == (kept.weights, kept.optimizer)


def test_accumulation_adds_the_gradients() -> None:
    """One micro-batch: gradients come as activations go. Two: both are there."""
    rows = {"pretrain.tokens_per_step": 16 * 128, "pretrain.row_length": 128}
    once = memory(load_recipe("tiny", rows | {"pretrain.micro_rows": 16}), CPU, "pretrain")
    twice = memory(load_recipe("tiny", rows | {"pretrain.micro_rows": 8}), CPU, "pretrain")
    assert once.parts.gradients == 0
    assert twice.parts.gradients == 4 * load_recipe("tiny").model.num_parameters
    # On two devices each has one of the two.
    shared = memory(
        load_recipe("tiny", rows | {"pretrain.micro_rows": 8}), Layout(2, is_gpu=False), "pretrain"
    )
    assert shared.parts.gradients == 0


def test_a_small_batch_is_shared_by_fewer_devices() -> None:
    """64 rows of sft, one at a time: 64 ranks at most, however many there are."""
    recipe = load_recipe("llama2-7b")
    stage = memory(recipe, Layout(1024, recompute=True), "sft")
    assert (stage.layout.devices, stage.batch) == (64, "64 rows")
    with_tensor = memory(recipe, Layout(1024, tensor=2, recompute=True), "sft")
    assert with_tensor.layout.devices == 128


@pytest.mark.parametrize("layers", [("q_proj", "v_proj"), ("k_proj", "o_proj", "down_proj")])
def test_adapters_against_a_model_that_has_them(layers: tuple[str, ...]) -> None:
    keys = {"sft.lora.rank": 3, "sft.lora.layers": layers, "model.num_kv_heads": 2}
    recipe = load_recipe("tiny", keys)
    model = with_adapters(LanguageModel.fresh(recipe.model, 0), recipe.sft.lora, 0)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    parts = memory(recipe, CPU, "sft").parts
    assert parts.optimizer == 8 * trained
    assert parts.gradients in (0, 4 * trained)


def test_ppo_holds_six_models() -> None:
    """Policy, first and best policy; critic and two judges: by counting real ones."""
    recipe = load_recipe("tiny")
    language = LanguageModel.fresh(recipe.model, 0)
    critic = ScoreModel.from_language_model(language, 0)
    models = [copy.deepcopy(language) for _ in range(3)] + [copy.deepcopy(critic) for _ in range(3)]
    size = 4 * sum(p.numel() for m in models for p in m.parameters())
    learning = sum(p.numel() for m in (language, critic) for p in m.parameters())
    parts = memory(recipe, Layout(1), "ppo").parts
    # The score heads, a number for each of the stream's, are left out of the plan.
    assert parts.weights == pytest.approx(size, abs=4 * 3 * recipe.model.dim)
    assert parts.optimizer == pytest.approx(8 * learning, abs=8 * recipe.model.dim)
    assert parts.gradients == pytest.approx(4 * learning, abs=4 * recipe.model.dim)


def test_ppo_with_adapters_holds_three() -> None:
    full = memory(load_recipe("llama2-7b"), Layout(1), "ppo").parts
    lora = memory(load_recipe("llama2-7b", {"ppo.lora.rank": 16}), Layout(1), "ppo").parts
    one = 4 * own_parameters(load_recipe("llama2-7b").model, Layout(1), head=True)
    assert full.weights > 5.8 * one
    # The base, two judges, and the sampler's copy with the adapters added.
    assert 3.8 * one < lora.weights < 4.1 * one
    assert lora.optimizer < full.optimizer / 100


def test_where_a_server_samples_no_rank_holds_the_policy_whole() -> None:
    key = {"ppo.sampler_url": "http://127.0.0.1:8000"}
    for layout, lora in ((Layout(64, recompute=True), {}), (Layout(1), {"ppo.lora.rank": 16})):
        own = memory(load_recipe("llama2-7b", lora), layout, "ppo").parts
        served = memory(load_recipe("llama2-7b", lora | key), layout, "ppo").parts
        assert own.cache > 0 == served.cache
        assert served.total < own.total


def test_ranks_of_ppo_hold_the_policy_whole_beside_their_shares() -> None:
    """512 samples on 64 devices: 8 rows of 1,024 tokens, and six models in 64 shares."""
    recipe = load_recipe("llama2-7b")
    parts = memory(recipe, Layout(64, recompute=True), "ppo").parts
    whole, heads = 4 * recipe.model.num_parameters, 3 * 4 * 32_000 * 4096
    assert parts.weights == pytest.approx(whole + (6 * whole - heads) / 64)
    assert parts.cache == 8 * 2**30
    lora = load_recipe("llama2-7b", {"ppo.lora.rank": 16})
    adapted = memory(lora, Layout(64, recompute=True), "ppo").parts
    assert adapted.weights == pytest.approx(parts.weights, rel=0.01)


def test_the_samplers_cache_is_at_its_peak_in_ppo() -> None:
    """256 rows of 1,024 tokens at 7B: 2 x 32 x 4,096 x 4 bytes a token, 256 GiB in all."""
    recipe = load_recipe("llama2-7b")
    assert sequence_length(recipe) == 1024
    parts = memory(recipe, Layout(1), "ppo").parts
    assert parts.cache == sampler_cache(recipe.model, Layout(1), 256, 1024) == 256 * 2**30
    grouped = load_recipe("llama2-7b", {"model.num_kv_heads": 8, "ppo.samples": 64})
    assert memory(grouped, Layout(1), "ppo").parts.cache in (0, 16 * 2**30)


def test_sequences_stay_inside_the_context() -> None:
    assert sequence_length(load_recipe("tiny")) == 128
    assert sequence_length(load_recipe("tiny", {"ppo.max_new_tokens": 200})) == 256
