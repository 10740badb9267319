"""Stage `reward`: one reward model, helpfulness or safety (section 3.2.2, A.3.3).

Started from the chat checkpoint under a new scalar head. Departure: a mix is given as the share
that comes from the other track; open preference sets join it as files of that track.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from arriero.alignment.scoring import pack_scored, packed_scores, score_sequences
from arriero.data.batches import micro_batches
from arriero.data.preferences import read_preferences
from arriero.data.shards import row_order
from arriero.equations.intervals import wilson_interval
from arriero.equations.ranking import MARGINS, pair_accuracy, ranking_loss, safety_loss
from arriero.equations.schedule import reward_warmup_steps
from arriero.model.heads import ScoreModel
from arriero.model.lora import LoraConfig, count_trained, merged, with_adapters
from arriero.model.weights import load_language_model, save_score_model
from arriero.records import Preference, Rating, UserError
from arriero.records.prompt import Track
from arriero.stages.fitting import Precision, autocast, fit
from arriero.stages.placement import gathered, spread
from arriero.stages.workspace import Workspace
from arriero.tokenizer.chat import encode_answer, encode_prompt
from arriero.tokenizer.load import load_tokenizer
from arriero.tokenizer.tokenizer import Tokenizer
from arriero.training.optimizer import OptimizerConfig, completed_by

_OPTIMIZER = OptimizerConfig(peak=1e-5)


class RewardConfig(BaseModel):
    """Section 3.2.2: one epoch, 512 pairs a step, 1e-5 (5e-6 at 70B), warm-up 3% and at least 5."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(default=1, gt=0, description="passes over the pairs; 1, more overfits")
    pairs_per_step: int = Field(default=512, gt=0, description="pairs of an optimizer step; 512")
    micro_pairs: int = Field(
        default=32, gt=0, description="pairs that go through the model at once"
    )
    margin: Literal["none", "small", "large"] = Field(
        default="small", description="m(rating), Table 27"
    )
    helpfulness_other_share: float = Field(
        default=0.5,
        ge=0,
        lt=1,
        description="share of the helpfulness mix from the safety track; 0.5",
    )
    safety_other_share: float = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="share of the safety mix from the helpfulness track; 0.1",
    )
    safety_loss_weight: float = Field(
        default=1.0,
        ge=0,
        description="weight of the safety label's cross-entropy in the safety model",
    )
    checkpoint_every: int = Field(default=50, gt=0, description="steps between checkpoints")
    precision: Precision = Field(default="bfloat16", description="type of the matrix products")
    optimizer: Annotated[OptimizerConfig, completed_by(_OPTIMIZER)] = Field(
        default=_OPTIMIZER,
        description="warm-up is 3% of the steps and at least 5 whatever warmup_steps says",
    )
    lora: LoraConfig = LoraConfig()


@dataclass(frozen=True, slots=True)
class EncodedPair:
    """A comparison as ids, each side prompt and answer with its EOS."""

    chosen: list[int]
    rejected: list[int]
    row: Preference


def run(
    config: RewardConfig,
    *,
    track: Track,
    start: Path,
    train: Mapping[Track, Sequence[Path]],
    test: Mapping[str, Sequence[Path]],
    workspace: Workspace,
) -> None:
    """Train the reward model of `track` into `folder/model` and try it on every test set."""
    tokenizer = load_tokenizer(start)
    model = ScoreModel.over(load_language_model(start).model, workspace.seed)
    if config.lora.rank:
        model = with_adapters(model, config.lora, workspace.seed)
        workspace.say(count_trained(model))
    model = spread(model, workspace, config.precision)
    rows, mix = mixed_rows(config, track, train, workspace.seed)
    pairs = encode_pairs(tokenizer, rows, model.config.context)
    if not pairs:
        raise UserError(f"{track} reward model: none of {len(rows)} pairs fits into the context")
    pairs_per_step = min(config.pairs_per_step, len(pairs))
    num_steps = config.epochs * math.ceil(len(pairs) / pairs_per_step)
    optimizer = config.optimizer.model_copy(
        update={"warmup_steps": min(reward_warmup_steps(num_steps), num_steps)}
    )
    weight = config.safety_loss_weight if track == "safety" else 0.0
    margins = MARGINS[config.margin]
    longest = max(len(pair.chosen) for pair in pairs)
    flops_a_token = model.config.flops_per_token(longest)

    def order(step: int) -> list[int]:
        return row_order(len(pairs), pairs_per_step, step, workspace.seed)

    def batches(step: int) -> list[list[EncodedPair]]:
        parts = micro_batches(order(step), config.micro_pairs, workspace.ranks.dp_size)
        return [[pairs[i] for i in part] for part in parts]

    def loss_sum(batch: list[EncodedPair]) -> Tensor:
        with autocast(config.precision, workspace.device):
            return pair_loss_sum(model, batch, margins, weight, workspace.device)

    for report, meter in fit(
        model,
        optimizer,
        workspace,
        num_steps=num_steps,
        checkpoint_every=config.checkpoint_every,
        micro_batches=batches,
        loss_sum=loss_sum,
        num_items=len,
        unit="pairs",
        precision=config.precision,
        flops=lambda batch: (
            flops_a_token * sum(len(pair.chosen) + len(pair.rejected) for pair in batch)
        ),
        sample_ids=order,
    ):
        meter.record(report)
    whole = gathered(model, workspace)
    if whole is None:
        return
    save_score_model(merged(whole), workspace.model, tokenizer.special)
    tokenizer.save(workspace.model, model_max_length=whole.config.context)
    accuracy, histogram = _tried(whole, tokenizer, track, test, workspace)
    workspace.write_results(
        {
            "name": track,
            "pairs": len(pairs),
            "train_loss": workspace.last_metrics()["loss"],
            "mix": mix,
            "margin": config.margin,
            "accuracy": accuracy,
            "score_histogram": histogram,
        }
    )


def _tried(
    model: ScoreModel,
    tokenizer: Tokenizer,
    track: Track,
    test: Mapping[str, Sequence[Path]],
    workspace: Workspace,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Accuracies on every test set, and the histogram of scores on the own track's."""
    accuracy: dict[str, Any] = {}
    histogram: dict[str, Any] = {}
    for name, paths in test.items():
        held_out = encode_pairs(tokenizer, list(read_preferences(paths)), model.config.context)
        accuracy[name], scores = pair_accuracies(model, held_out)
        if name == track:
            histogram = score_histogram(scores)
        figures = accuracy[name]["all"]
        workspace.say(f"accuracy on {name}: {figures['accuracy']:.3f} of {figures['n']} pairs")
    return accuracy, histogram


def mixed_rows(
    config: RewardConfig, track: Track, train: Mapping[Track, Sequence[Path]], seed: int
) -> tuple[list[Preference], dict[str, float]]:
    """All rows of the own track and enough of the other for its share; with the mix reached."""
    own = list(read_preferences(train[track]))
    share = config.helpfulness_other_share if track == "helpfulness" else config.safety_other_share
    other_track: Track = "safety" if track == "helpfulness" else "helpfulness"
    other: list[Preference] = []
    if share and train.get(other_track):
        other = list(read_preferences(train[other_track]))
        wanted = min(len(other), round(len(own) * share / (1 - share)))
        order = np.random.default_rng(seed).permutation(len(other))[:wanted]
        other = [other[index] for index in sorted(order)]
    total = len(own) + len(other)
    return own + other, {track: len(own) / total, other_track: len(other) / total}


def encode_pairs(
    tokenizer: Tokenizer, rows: Sequence[Preference], context: int
) -> list[EncodedPair]:
    """Both sides of each row as ids; rows longer than the context are left out."""
    pairs: list[EncodedPair] = []
    for row in rows:
        prompt = encode_prompt(tokenizer, row.prompt)
        chosen = prompt + encode_answer(tokenizer, row.chosen)
        rejected = prompt + encode_answer(tokenizer, row.rejected)
        if max(len(chosen), len(rejected)) <= context:
            pairs.append(EncodedPair(chosen, rejected, row))
    return pairs


def pair_loss_sum(
    model: ScoreModel,
    batch: Sequence[EncodedPair],
    margins: Mapping[Rating | None, float],
    safety_weight: float,
    device: torch.device,
) -> Tensor:
    """Summed ranking loss of the pairs, plus the weighted safety loss of their responses."""
    packed = pack_scored([pair.chosen for pair in batch] + [pair.rejected for pair in batch])
    scores = packed_scores(model, packed, device)
    chosen, rejected = scores[: len(batch)], scores[len(batch) :]
    margin = torch.tensor([margins[pair.row.rating] for pair in batch], device=device)
    total = ranking_loss(chosen, rejected, margin).sum()
    if safety_weight:
        labels = [pair.row.chosen_is_safe for pair in batch]
        labels += [pair.row.rejected_is_safe for pair in batch]
        known = torch.tensor([label is not None for label in labels], device=device)
        is_safe = torch.tensor([bool(label) for label in labels], device=device)
        total = total + safety_weight * safety_loss(scores, is_safe, known).sum()
    return total


def pair_accuracies(
    model: ScoreModel, pairs: Sequence[EncodedPair]
) -> tuple[dict[str, dict[str, float]], Tensor]:
    """Accuracy with its 95% interval, over all pairs and by rating (Tables 7 and 8).

    Also returns the raw scores [2, N] of chosen and rejected responses.
    """
    scores = score_sequences(model, [p.chosen for p in pairs] + [p.rejected for p in pairs])
    scores = scores.view(2, len(pairs))
    groups = {"all": list(range(len(pairs)))}
    for rating in Rating:
        members = [number for number, pair in enumerate(pairs) if pair.row.rating == rating]
        if members:
            groups[rating.value] = members
    return {name: _accuracy(scores[:, members]) for name, members in groups.items()}, scores


def _accuracy(scores: Tensor) -> dict[str, float]:
    """Share of pairs [2, N] in the right order with its 95% Wilson interval."""
    count = scores.shape[1]
    share = float(pair_accuracy(scores[0], scores[1])) if count else 0.0
    low, high = wilson_interval(share * count, count)
    return {"accuracy": share, "low": low, "high": high, "n": count}


def score_histogram(scores: Tensor) -> dict[str, Any]:
    """How chosen and rejected responses score, in 30 bins (the shape of Figure 27)."""
    low, high = float(scores.min()), float(scores.max()) + 1e-6
    edges = np.linspace(low, high, 31)
    chosen, rejected = (np.histogram(side.numpy(), edges)[0].tolist() for side in scores)
    return {"edges": edges.tolist(), "chosen": chosen, "rejected": rejected}
