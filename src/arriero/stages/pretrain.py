"""Stage `pretrain`: next-token prediction over the corpus (section 2.2).

Departure: the corpus is read in one random order of rows; weighting of sources happens before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from arriero.data.batches import Batches
from arriero.data.documents import read_documents
from arriero.data.packing import PackedBatch
from arriero.data.shards import Shard, row_order, write_shard
from arriero.inference.generate import Sampling, generate
from arriero.model.config import ModelConfig
from arriero.model.heads import LanguageModel
from arriero.model.weights import save_language_model
from arriero.records import UserError
from arriero.stages.fitting import Precision, autocast, fit
from arriero.stages.placement import fresh_language_model, gathered, read_language_model
from arriero.stages.workspace import Workspace
from arriero.tokenizer.load import load_tokenizer
from arriero.tokenizer.tokenizer import Tokenizer
from arriero.training.optimizer import OptimizerConfig

_LOSS_CHUNK = 4096


class PretrainConfig(BaseModel):
    """Section 2.2; the defaults are those of the paper's 7B model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_tokens: int = Field(default=2_000_000_000_000, ge=0, description="tokens to train on; 2T")
    tokens_per_step: int = Field(default=4_194_304, gt=0, description="global batch in tokens; 4M")
    row_length: int = Field(default=4096, gt=0, description="tokens a row; 4,096")
    micro_rows: int = Field(default=4, gt=0, description="rows that go through the model at once")
    valid_share: float = Field(
        default=0.001, gt=0, lt=0.5, description="rows held out for the loss curve"
    )
    max_valid_rows: int = Field(default=64, gt=0, description="at most so many rows held out")
    valid_every: int = Field(default=500, gt=0, description="steps between held-out losses")
    checkpoint_every: int = Field(default=1000, gt=0, description="steps between checkpoints")
    keep_every: int = Field(
        default=0, ge=0, description="checkpoints of steps that it divides stay; 0: the newest two"
    )
    precision: Precision = Field(default="bfloat16", description="type of the matrix products")
    optimizer: OptimizerConfig = Field(default_factory=OptimizerConfig)

    @model_validator(mode="after")
    def _milestones_are_checkpoints(self) -> Self:
        if self.keep_every % self.checkpoint_every:
            raise ValueError(
                f"keep_every {self.keep_every} is no multiple of checkpoint_every "
                f"{self.checkpoint_every}"
            )
        return self

    @property
    def rows_per_step(self) -> int:
        """Rows of one optimizer step."""
        return max(1, self.tokens_per_step // self.row_length)

    @property
    def num_steps(self) -> int:
        """Optimizer steps of the whole run; none where there are no tokens."""
        return self.num_tokens and max(1, self.num_tokens // (self.rows_per_step * self.row_length))


def run(
    config: PretrainConfig,
    *,
    model_config: ModelConfig,
    corpus: Sequence[Path],
    tokenizer_folder: Path,
    start: Path | None = None,
    workspace: Workspace,
) -> None:
    """Train the base model into `folder/model`, from new weights or on from those of `start`."""
    tokenizer = load_tokenizer(tokenizer_folder)
    if tokenizer.vocab_size > model_config.vocab_size:
        raise UserError(
            f"the tokenizer has {tokenizer.vocab_size} tokens; "
            f"raise model.vocab_size from {model_config.vocab_size}"
        )
    shard = _shard(config, corpus, tokenizer, workspace)
    # The last rows are held out; training permutes the ones before them.
    num_train = shard.num_rows - num_held_out_rows(config, shard)
    if start is None:
        model = fresh_language_model(model_config, workspace, config.precision)
    else:
        model = read_language_model(start, workspace, config.precision, torch.float32)

    def micro_batches(step: int) -> Sequence[PackedBatch]:
        rows = row_order(num_train, config.rows_per_step, step, workspace.seed)
        size = config.micro_rows
        return Batches([rows[i : i + size] for i in range(0, len(rows), size)], shard.batch)

    def loss_sum(batch: PackedBatch) -> Tensor:
        with autocast(config.precision, workspace.device):
            return packed_loss_sum(model, batch, workspace.device)

    flops_a_token = model_config.flops_per_token(config.row_length)
    held_out = [
        shard.batch(range(i, min(i + config.micro_rows, shard.num_rows)))
        for i in range(num_train, shard.num_rows, config.micro_rows)
    ]
    for report, meter in fit(
        model,
        config.optimizer,
        workspace,
        num_steps=config.num_steps,
        checkpoint_every=config.checkpoint_every,
        micro_batches=micro_batches,
        loss_sum=loss_sum,
        num_items=lambda batch: batch.num_targets,
        unit="tokens",
        precision=config.precision,
        flops=lambda batch: batch.tokens.numel() * flops_a_token,
        sample_ids=lambda step: row_order(num_train, config.rows_per_step, step, workspace.seed),
        keep_every=config.keep_every,
    ):
        is_last = report.step + 1 == config.num_steps
        if (report.step + 1) % config.valid_every == 0 or is_last:
            meter.record(report, valid_loss=mean_loss(model, held_out, workspace.device))
            if workspace.ranks.mesh is None:
                sample = _samples(model, shard, tokenizer, workspace.seed, count=1)[0]
                workspace.show(sample["prompt"], sample["text"])
        else:
            meter.record(report)
    valid_loss = mean_loss(model, held_out, workspace.device)
    whole = gathered(model, workspace)
    if whole is None:
        return
    save_language_model(whole, workspace.model, tokenizer.special)
    tokenizer.save(workspace.model, model_max_length=model_config.context)
    workspace.write_results(
        {
            "parameters": model_config.num_parameters,
            "tokens": config.num_steps * config.rows_per_step * config.row_length,
            "corpus_tokens": len(shard.tokens),
            "train_loss": workspace.last_metrics()["loss"] if config.num_steps else None,
            "valid_loss": valid_loss,
            "perplexity": None if valid_loss is None else math.exp(valid_loss),
            "samples": _samples(whole, shard, tokenizer, workspace.seed),
        }
    )


def num_held_out_rows(config: PretrainConfig, shard: Shard) -> int:
    """Rows at the end of the shard that training never sees; none if there is but one row."""
    wanted = min(config.max_valid_rows, max(1, int(shard.num_rows * config.valid_share)))
    return min(wanted, shard.num_rows - 1)


def _shard(
    config: PretrainConfig, corpus: Sequence[Path], tokenizer: Tokenizer, workspace: Workspace
) -> Shard:
    """The tokenised corpus, written unless a stopped run has done so."""
    folder = workspace.folder / "shard"
    if workspace.ranks.is_first and not (folder / "shard.json").exists():
        num_tokens = write_shard(read_documents(corpus), tokenizer, folder)
        workspace.say(f"{num_tokens:,} tokens of text")
    workspace.ranks.wait()
    return Shard(folder, config.row_length)


def packed_loss_sum(model: LanguageModel, batch: PackedBatch, device: torch.device) -> Tensor:
    """Summed cross-entropy of a packed batch's counted targets; a scalar."""
    return model.token_loss_sum(
        batch.tokens.to(device),
        batch.targets.to(device),
        batch.loss_mask.to(device),
        positions=batch.positions.to(device),
        segments=batch.segments.to(device),
        chunk=_LOSS_CHUNK,
    )


@torch.no_grad()
def mean_loss(
    model: LanguageModel, batches: Sequence[PackedBatch], device: torch.device
) -> float | None:
    """Loss a token over all batches together; None if they hold no target."""
    total = sum(float(packed_loss_sum(model, batch, device)) for batch in batches)
    count = sum(batch.num_targets for batch in batches)
    return total / count if count else None


def _samples(
    model: LanguageModel, shard: Shard, tokenizer: Tokenizer, seed: int, count: int = 4
) -> list[dict[str, str]]:
    """A few held-out openings and how the model goes on."""
    last = range(max(0, shard.num_rows - count), shard.num_rows)
    starts = shard.batch(last).tokens[:, :12].tolist()
    sampling = Sampling(temperature=0.7, max_new_tokens=40)
    continuations = generate(model, starts, sampling, seed=seed, ends=tokenizer.special.ends)
    return [
        {"prompt": tokenizer.decode(start), "text": tokenizer.decode(samples[0].tokens)}
        for start, samples in zip(starts, continuations, strict=True)
    ]
