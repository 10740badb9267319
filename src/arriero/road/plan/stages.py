"""What each stage that trains needs on a device at its worst moment.

Rows of pretraining and of sft are full. How long pairs and prompts are the recipe does not say: a
pair is taken to be as long as a prompt and an answer of PPO, and a prompt as long as an answer may
be. Preferences, rejection sampling and evaluation hold less than PPO does, and are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from arriero.data.batches import most_ranks
from arriero.model.config import ModelConfig
from arriero.model.lora import LoraConfig
from arriero.road.plan.layout import Layout, micro_batches
from arriero.road.plan.memory import (
    FLOAT,
    Parts,
    Precision,
    answer_logits,
    own_parameters,
    peak,
    sampler_cache,
    training_step,
)
from arriero.road.recipe import Recipe

# Rows that a stage samples at once.
_SAMPLED_ROWS = 256
# Tokens that go through a model at once where PPO makes its own batches.
_TOKENS_AT_ONCE = {False: 4096, True: 16_384}
_SHORTEST_ROW = 128


@dataclass(frozen=True, slots=True)
class StageMemory:
    """A stage's peak, on as many of the devices as can share its batch.

    `batch` says what a step holds, such as "64 rows".
    """

    name: str
    layout: Layout
    batch: str
    parts: Parts


STAGES = ("pretrain", "sft", "reward", "ppo")
# What says how many devices a job needs. Not PPO, in which every rank samples with the whole
# policy: where that fits nowhere, more devices are no help, and the other stages still run.
DECIDING_STAGES = STAGES[:-1]


def stage_memory(
    recipe: Recipe, layout: Layout, names: Sequence[str] = STAGES
) -> list[StageMemory]:
    """The stages of those names, each at its peak."""
    plans = {"pretrain": _pretrain, "sft": _sft, "reward": _reward, "ppo": _ppo}
    return [plans[name](recipe, layout) for name in names]


def _pretrain(recipe: Recipe, layout: Layout) -> StageMemory:
    config = recipe.pretrain
    model = recipe.model
    rows = config.rows_per_step
    step = training_step(
        model,
        layout,
        config.precision,
        trained=own_parameters(model, layout, head=True),
        num_tokens=min(config.micro_rows, rows // layout.data) * config.row_length,
        row_length=config.row_length,
        accumulates=micro_batches(rows, config.micro_rows, layout.data) > 1,
    )
    trying = _sampling(model, layout, LoraConfig(), config.row_length)
    return StageMemory("pretrain", layout, f"{rows:,} rows", peak((step, trying)))


def _sft(recipe: Recipe, layout: Layout) -> StageMemory:
    config = recipe.sft
    model = recipe.model
    rows = config.rows_per_step
    layout = _shared_by(rows, layout)
    step = training_step(
        model,
        layout,
        config.precision,
        trained=_trained(model, layout, config.lora, head=True),
        num_tokens=min(config.micro_rows, rows // layout.data) * config.row_length,
        row_length=config.row_length,
        accumulates=config.replay_rows > 0
        or micro_batches(rows, config.micro_rows, layout.data) > 1,
    )
    trying = _sampling(model, layout, config.lora, config.row_length)
    return StageMemory("sft", layout, f"{rows:,} rows", peak((step, trying)))


def _reward(recipe: Recipe, layout: Layout) -> StageMemory:
    config = recipe.reward
    model = recipe.model
    pairs = config.pairs_per_step
    layout = _shared_by(pairs, layout)
    length = max(_SHORTEST_ROW, sequence_length(recipe))
    step = training_step(
        model,
        layout,
        config.precision,
        trained=_trained(model, layout, config.lora, head=False),
        num_tokens=2 * min(config.micro_pairs, pairs // layout.data) * length,
        row_length=length,
        accumulates=micro_batches(pairs, config.micro_pairs, layout.data) > 1,
        head=False,
    )
    return StageMemory("reward", layout, f"{pairs:,} pairs", step)


def _ppo(recipe: Recipe, layout: Layout) -> StageMemory:
    """Policy and critic learn; the best policy so far, the first and two judges are beside them.

    Ranks may get parts of a mini-batch that are not the same: the largest counts.
    """
    config = recipe.ppo
    model = recipe.model
    precision: Precision = "float32"
    policy = _trained(model, layout, config.lora, head=True)
    critic = _trained(model, layout, config.lora, head=False)
    language = FLOAT * own_parameters(model, layout, head=True)
    scoring = FLOAT * own_parameters(model, layout, head=False)
    # With adapters one frozen base serves policy, reference, best and critic; on ranks each of them
    # has its own shares of it.
    shares_base = config.lora.rank and not layout.is_divided
    others = 0.0 if shares_base else 2 * language + scoring
    beside = Parts(weights=others + 2 * scoring)
    if config.lora.rank:
        beside += Parts(weights=FLOAT * (2 * policy + critic))
    length = sequence_length(recipe)
    answer = min(config.max_new_tokens, length)
    samples = -(-config.samples // layout.devices)
    rows = min(
        max(1, _TOKENS_AT_ONCE[layout.is_gpu] // length), -(-config.mini_batch // layout.data)
    )
    step = training_step(
        model,
        layout,
        precision,
        trained=policy,
        num_tokens=rows * length,
        row_length=length,
        accumulates=True,
        logits=answer_logits(model, rows * answer),
    )
    # The critic's gradients and moments are there when the policy's step is at its widest.
    step += Parts(gradients=FLOAT * critic, optimizer=2 * FLOAT * critic)
    state = Parts(
        weights=language,
        gradients=FLOAT * (policy + critic),
        optimizer=2 * FLOAT * (policy + critic),
    )
    sampling = state
    if not config.sampler_url:
        sampling += _sampler(model, layout, min(_SAMPLED_ROWS, samples), length)
    if not config.sampler_url and (layout.is_divided or config.lora.rank):
        # What samples is a whole copy: shares put together, the base with the adapters added.
        sampling += Parts(weights=FLOAT * float(model.num_parameters))
    return StageMemory(
        "ppo", layout, f"{config.mini_batch:,} answers", beside + peak((step, sampling))
    )


def _shared_by(batch: int, layout: Layout) -> Layout:
    """The layout on the most of its data-parallel ranks that share the batch evenly."""
    return replace(layout, devices=most_ranks(batch, layout.data) * layout.tensor)


def sequence_length(recipe: Recipe) -> int:
    """Tokens of the longest sequence that reward models and PPO are taken to meet."""
    return min(recipe.model.context, 2 * recipe.ppo.max_new_tokens)


def _trained(model: ModelConfig, layout: Layout, lora: LoraConfig, *, head: bool) -> float:
    """Parameters in a rank's share that have gradients: all, or those of the adapters."""
    if not lora.rank:
        return own_parameters(model, layout, head=head)
    shapes = {
        "q_proj": (model.dim, model.query_dim),
        "k_proj": (model.dim, model.kv_dim),
        "v_proj": (model.dim, model.kv_dim),
        "o_proj": (model.query_dim, model.dim),
        "gate_proj": (model.dim, model.ffn_dim),
        "up_proj": (model.dim, model.ffn_dim),
        "down_proj": (model.ffn_dim, model.dim),
    }
    widths = sum(sum(shapes[name]) for name in lora.layers)
    return model.num_layers * lora.rank * widths / layout.devices


def _sampling(model: ModelConfig, layout: Layout, lora: LoraConfig, num_slots: int) -> Parts:
    """A few samples between two steps; a job of many ranks takes none."""
    if layout.is_divided:
        return Parts()
    trained = _trained(model, layout, lora, head=True)
    state = Parts(
        weights=FLOAT * own_parameters(model, layout, head=True),
        gradients=FLOAT * trained,
        optimizer=2 * FLOAT * trained,
    )
    return state + _sampler(model, layout, 4, num_slots)


def _sampler(model: ModelConfig, layout: Layout, num_rows: int, num_slots: int) -> Parts:
    """The cache of a sampler of the whole model, and weights where it lays them out anew."""
    # The compiled step has the matrices in an order of its own; a GPU reads them as they are.
    weights = 0.0 if layout.is_gpu else FLOAT * float(model.num_parameters)
    alone = Layout(1, is_gpu=layout.is_gpu)
    return Parts(weights=weights, cache=sampler_cache(model, alone, num_rows, num_slots))
