"""Stage `reward`: one reward model, helpfulness or safety (section 3.2.2, A.3.3).

Started from the chat checkpoint under a new scalar head; `reward_mix` says what it learns from,
`reward_pairs` what it loses.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from arriero.data.batches import micro_batches
from arriero.data.preferences import read_preferences
from arriero.data.shards import row_order
from arriero.equations.schedule import reward_warmup_steps
from arriero.model.heads import ScoreModel
from arriero.model.lora import count_trained, merged, with_adapters
from arriero.model.weights import load_language_model, save_score_model
from arriero.records import UserError
from arriero.records.prompt import Track
from arriero.stages.fitting import autocast, fit
from arriero.stages.placement import gathered, spread
from arriero.stages.reward_config import RewardConfig
from arriero.stages.reward_mix import MixConfig, mixed
from arriero.stages.reward_pairs import EncodedPair, encode_pairs, pair_loss_sum
from arriero.stages.reward_results import pair_accuracies, score_histogram, score_rows
from arriero.stages.workspace import Workspace
from arriero.tokenizer.load import load_tokenizer
from arriero.tokenizer.tokenizer import Tokenizer
from arriero.training.loop import StepReport
from arriero.training.meters import Meter


def run(
    config: RewardConfig,
    *,
    track: Track,
    mix: MixConfig,
    start: Path,
    train: Mapping[Track, Sequence[Path]],
    test: Mapping[str, Sequence[Path]],
    workspace: Workspace,
) -> None:
    """Train the reward model of `track` into `folder/model` and try it on every test set.

    Args:
        mix: what of `train` it learns from.
        start: folder of the chat model.
        train: comparisons by track; rows that name none get that of their file.
        test: held-out comparisons by name of the set; that of the model's own track gets a
            histogram of its scores.
    """
    tokenizer = load_tokenizer(start)
    model = ScoreModel.over(load_language_model(start).model, workspace.seed)
    if config.lora.rank:
        model = with_adapters(model, config.lora, workspace.seed)
        workspace.say(count_trained(model))
    model = spread(model, workspace, config.precision)
    material = training_pairs(mix, track, train, tokenizer, model.config.context, workspace)
    for report, meter in fit_pairs(config, track, model, material.pairs, workspace):
        meter.record(report)
    whole = gathered(model, workspace)
    if whole is None:
        return
    save_score_model(merged(whole), workspace.model, tokenizer.special)
    tokenizer.save(workspace.model, model_max_length=whole.config.context)
    workspace.write_results(
        {
            "name": track,
            "pairs": len(material.pairs),
            "train_loss": workspace.last_metrics()["loss"],
            **material.results,
            "margin": config.margin_name,
            "margins": {rating.value: m for rating, m in config.margin_of.items() if rating},
            **_tried(whole, tokenizer, track, test, workspace),
        }
    )


@dataclass(frozen=True)
class Material:
    """What a model learns from, and how the mix came about."""

    pairs: list[EncodedPair]
    results: dict[str, Any]


def training_pairs(
    mix: MixConfig,
    track: Track,
    train: Mapping[Track, Sequence[Path]],
    tokenizer: Tokenizer,
    context: int,
    workspace: Workspace,
) -> Material:
    """The mix of a model, of those pairs that fit into its context.

    Raises:
        UserError: no pair fits, or the mix names a part that is not there.
    """
    rows = [row for name, paths in train.items() for row in read_preferences(paths, track=name)]
    pairs = encode_pairs(tokenizer, rows, context)
    if not pairs:
        raise UserError(f"{track} reward model: none of {len(rows)} pairs fits into the context")
    too_long = len(rows) - len(pairs)
    if too_long:
        workspace.say(f"{too_long:,} of {len(rows):,} pairs are longer than the context, left out")
    found = mixed(mix, track, [pair.row for pair in pairs], workspace.seed)
    for part in found.parts:
        if part.shortage:
            workspace.say(part.shortage)
    results = {**found.results(), "too_long": too_long}
    return Material([pairs[place] for place in found.places], results)


def fit_pairs(
    config: RewardConfig,
    track: Track,
    model: ScoreModel,
    pairs: Sequence[EncodedPair],
    workspace: Workspace,
) -> Iterator[tuple[StepReport, Meter]]:
    """Train on the pairs; the safety model alone learns from safety labels too.

    Yields, as `fitting.fit` does, each step's report with the meter to record it in.
    """
    pairs_per_step = min(config.pairs_per_step, len(pairs))
    num_steps = config.epochs * math.ceil(len(pairs) / pairs_per_step)
    warmup_steps = min(reward_warmup_steps(num_steps), num_steps)
    weight = config.safety_loss_weight if track == "safety" else 0.0
    margins = config.margin_of
    longest = max(max(len(pair.chosen), len(pair.rejected)) for pair in pairs)
    flops_a_token = model.config.flops_per_token(longest)

    def order(step: int) -> list[int]:
        return row_order(len(pairs), pairs_per_step, step, workspace.seed)

    def batches(step: int) -> list[list[EncodedPair]]:
        parts = micro_batches(order(step), config.micro_pairs, workspace.ranks.dp_size)
        return [[pairs[i] for i in part] for part in parts]

    def loss_sum(batch: list[EncodedPair]) -> Tensor:
        with autocast(config.precision, workspace.device):
            return pair_loss_sum(model, batch, margins, weight, workspace.device)

    return fit(
        model,
        config.optimizer.model_copy(update={"warmup_steps": warmup_steps}),
        workspace,
        num_steps=num_steps,
        checkpoint_every=config.checkpoint_every,
        micro_batches=batches,
        loss_sum=loss_sum,
        num_items=len,
        unit="pairs",
        precision=config.precision,
        flops=lambda batch: flops_a_token * sum(pair.num_tokens for pair in batch),
        sample_ids=order,
    )


def _tried(
    model: ScoreModel,
    tokenizer: Tokenizer,
    track: Track,
    test: Mapping[str, Sequence[Path]],
    workspace: Workspace,
) -> dict[str, Any]:
    """Accuracies on every test set, and the histogram of scores on the own track's.

    The scores themselves go into scores.jsonl, a row a pair.
    """
    lines: list[str] = []
    accuracy: dict[str, Any] = {}
    histogram: dict[str, Any] = {}
    too_long: dict[str, int] = {}
    for name, paths in test.items():
        rows = list(read_preferences(paths))
        held_out = encode_pairs(tokenizer, rows, model.config.context)
        too_long[name] = len(rows) - len(held_out)
        if not held_out:
            workspace.say(f"no accuracy on {name}: none of {len(rows)} pairs fits the context")
            continue
        accuracy[name], scores = pair_accuracies(model, held_out)
        lines += [json.dumps(line) + "\n" for line in score_rows(name, held_out, scores)]
        if name == track:
            histogram = score_histogram(scores)
        figures = accuracy[name]["all"]
        left_out = f", {too_long[name]} too long" if too_long[name] else ""
        workspace.say(
            f"accuracy on {name}: {figures['accuracy']:.3f} of {figures['n']} pairs{left_out}"
        )
    (workspace.folder / "scores.jsonl").write_text("".join(lines), encoding="utf-8")
    return {
        "accuracy": accuracy,
        "score_histogram": histogram,
        "test_too_long": too_long,
    }
