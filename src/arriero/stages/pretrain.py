"""Stage `pretrain`: next-token prediction over the corpus (section 2.2).

Rows of the corpus are read in a random order, each source in a share of its own where sources have
weights (see data.mixing).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from arriero.data.batches import Batches, micro_batches
from arriero.data.mixing import Corpus, Source, apportion, open_corpus
from arriero.data.packing import PackedBatch
from arriero.inference.generate import Sampling, generate
from arriero.model.config import ModelConfig
from arriero.model.heads import LanguageModel
from arriero.model.weights import save_language_model
from arriero.records import UserError
from arriero.stages.corpus import SHARD, tokenise
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
    max_valid_rows: int = Field(
        default=64, gt=0, description="at most so many rows held out, or one of each source"
    )
    valid_every: int = Field(default=500, gt=0, description="steps between held-out losses")
    checkpoint_every: int = Field(default=1000, gt=0, description="steps between checkpoints")
    keep_every: int = Field(
        default=0, ge=0, description="checkpoints of steps that it divides stay; 0: the newest two"
    )
    precision: Precision = Field(default="bfloat16", description="type of the matrix products")
    optimizer: OptimizerConfig = Field(default_factory=OptimizerConfig)

    @model_validator(mode="after")
    def _steps_hold_whole_rows(self) -> Self:
        if self.tokens_per_step % self.row_length:
            rows = max(1, self.tokens_per_step // self.row_length)
            raise ValueError(
                f"tokens_per_step {self.tokens_per_step} is no multiple of row_length "
                f"{self.row_length}; name {rows * self.row_length} or another one"
            )
        return self

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
        return self.tokens_per_step // self.row_length

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
    sources: Sequence[Source] = (),
    start: Path | None = None,
    workspace: Workspace,
) -> None:
    """Train the base model into `folder/model`, from new weights or on from those of `start`.

    With `sources`, which are the corpus in parts, each is read by its weight.
    """
    tokenizer = load_tokenizer(tokenizer_folder)
    if tokenizer.vocab_size > model_config.vocab_size:
        raise UserError(
            f"the tokenizer has {tokenizer.vocab_size} tokens; "
            f"raise model.vocab_size from {model_config.vocab_size}"
        )
    tokenise(corpus, sources, tokenizer, workspace)
    text = open_corpus(workspace.folder / SHARD, config.row_length)
    # The last rows of each source are held out; training permutes the ones before them.
    held_out = held_out_rows(config, text)
    num_train = [s.num_rows - len(rows) for s, rows in zip(text.shards, held_out, strict=True)]
    for fact in reading(config, text) if sources else ():
        workspace.say(
            f"{fact['name']}: {fact['share']:.2%} of what is read, {fact['epochs']:.2f} times "
            f"{fact['train_rows']:,} rows"
        )
    if start is None:
        model = fresh_language_model(model_config, workspace, config.precision)
    else:
        model = read_language_model(start, workspace, config.precision, torch.float32)

    def rows_of(step: int) -> list[int]:
        return text.order(num_train, config.rows_per_step, step, workspace.seed)

    def batches(step: int) -> Sequence[PackedBatch]:
        plans = micro_batches(rows_of(step), config.micro_rows, workspace.ranks.dp_size)
        return Batches(plans, text.batch)

    def loss_of(rows: Sequence[int]) -> float | None:
        return mean_loss(model, in_batches(text, rows, config.micro_rows), workspace.device)

    def loss_sum(batch: PackedBatch) -> Tensor:
        with autocast(config.precision, workspace.device):
            return packed_loss_sum(model, batch, workspace.device)

    flops_a_token = model_config.flops_per_token(config.row_length)
    all_held_out = [row for rows in held_out for row in rows]
    for report, meter in fit(
        model,
        config.optimizer,
        workspace,
        num_steps=config.num_steps,
        checkpoint_every=config.checkpoint_every,
        micro_batches=batches,
        loss_sum=loss_sum,
        num_items=lambda batch: batch.num_targets,
        unit="tokens",
        precision=config.precision,
        flops=lambda batch: batch.tokens.numel() * flops_a_token,
        sample_ids=rows_of,
        keep_every=config.keep_every,
    ):
        is_last = report.step + 1 == config.num_steps
        if (report.step + 1) % config.valid_every == 0 or is_last:
            meter.record(report, valid_loss=loss_of(all_held_out))
            if workspace.ranks.mesh is None:
                sample = _samples(model, text, tokenizer, workspace.seed, count=1)[0]
                workspace.show(sample["prompt"], sample["text"])
        else:
            meter.record(report)
    valid_loss = loss_of(all_held_out)
    of_sources = [loss_of(rows) for rows in held_out] if sources else []
    whole = gathered(model, workspace)
    if whole is None:
        return
    save_language_model(whole, workspace.model, tokenizer.special)
    tokenizer.save(workspace.model, model_max_length=model_config.context)
    facts = {
        "parameters": model_config.num_parameters,
        "tokens": config.num_steps * config.rows_per_step * config.row_length,
        "corpus_tokens": text.num_tokens,
        "train_loss": workspace.last_metrics()["loss"] if config.num_steps else None,
        "valid_loss": valid_loss,
        "perplexity": None if valid_loss is None else math.exp(valid_loss),
        "samples": _samples(whole, text, tokenizer, workspace.seed),
    }
    if sources:
        read = zip(reading(config, text), of_sources, strict=True)
        facts["sources"] = [{**fact, "valid_loss": loss} for fact, loss in read]
    workspace.write_results(facts)


def held_out_rows(config: PretrainConfig, corpus: Corpus) -> list[list[int]]:
    """The rows at the end of each source that training never sees; none where it has but one.

    Together they are a sample of what is trained on: sources share them by their weights, but none
    gives more than `valid_share` of itself, and each one at least.
    """
    sizes = [shard.num_rows for shard in corpus.shards]
    wanted = min(config.max_valid_rows, max(1, int(sum(sizes) * config.valid_share)))
    counts = [
        min(max(1, min(share, int(size * config.valid_share))), size - 1)
        for share, size in zip(apportion(corpus.weights, wanted), sizes, strict=True)
    ]
    return [
        list(range(first + size - count, first + size))
        for first, size, count in zip(corpus.firsts, sizes, counts, strict=True)
    ]


def reading(config: PretrainConfig, corpus: Corpus) -> list[dict[str, Any]]:
    """How often and in which share each source is read by the end, beside its weight's share."""
    num_rows = config.num_steps * config.rows_per_step
    facts: list[dict[str, Any]] = []
    for name, weight, shard, read, held_out in zip(
        corpus.names,
        corpus.weights,
        corpus.shards,
        apportion(corpus.weights, num_rows),
        held_out_rows(config, corpus),
        strict=True,
    ):
        num_train = shard.num_rows - len(held_out)
        facts.append(
            {
                "name": name,
                "target_share": weight / sum(corpus.weights),
                "share": read / max(1, num_rows),
                "tokens": read * config.row_length,
                "epochs": read / num_train,
                "corpus_tokens": len(shard.tokens),
                "documents": shard.num_documents,
                "train_rows": num_train,
                "held_out_rows": len(held_out),
            }
        )
    return facts


def in_batches(corpus: Corpus, rows: Sequence[int], at_once: int) -> list[PackedBatch]:
    """Rows in the batches that go through a model."""
    return [corpus.batch(plan) for plan in micro_batches(rows, at_once)]


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
    model: LanguageModel, corpus: Corpus, tokenizer: Tokenizer, seed: int, count: int = 4
) -> list[dict[str, str]]:
    """A few held-out openings, of as many sources as can be, and how the model goes on."""
    last = [
        row
        for first, shard, share in zip(
            corpus.firsts, corpus.shards, apportion([1] * len(corpus.shards), count), strict=True
        )
        for row in range(first + max(0, shard.num_rows - share), first + shard.num_rows)
    ]
    starts = corpus.batch(last).tokens[:, :12].tolist()
    sampling = Sampling(temperature=0.7, max_new_tokens=40)
    continuations = generate(model, starts, sampling, seed=seed, ends=tokenizer.special.ends)
    return [
        {"prompt": tokenizer.decode(start), "text": tokenizer.decode(samples[0].tokens)}
        for start, samples in zip(starts, continuations, strict=True)
    ]
