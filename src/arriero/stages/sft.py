"""Stage `sft`: supervised fine-tuning (section 3.1); rejection sampling fine-tunes through it too.

Departure: rows are filled with whole dialogs; the paper's special token between prompt and answer
is the plain text `[/INST]` of the released layout.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from arriero.data.batches import Batches, micro_batches
from arriero.data.dialogs import read_dialogs
from arriero.data.mixing import Corpus, open_corpus
from arriero.data.packing import PackedBatch, assign_rows, pack
from arriero.data.shards import row_order
from arriero.inference.generate import Sampling, generate
from arriero.model.heads import LanguageModel
from arriero.model.lora import LoraConfig, count_trained, merged, with_adapters
from arriero.model.weights import load_language_model, save_language_model
from arriero.records import Dialog, UserError
from arriero.stages.fitting import Precision, autocast, fit
from arriero.stages.placement import gathered, read_language_model, spread
from arriero.stages.token_loss import mean_loss, packed_loss_sum
from arriero.stages.workspace import Workspace
from arriero.tokenizer.chat import EncodedDialog, encode_dialogs, encode_prompt
from arriero.tokenizer.load import load_tokenizer
from arriero.tokenizer.tokenizer import Tokenizer
from arriero.training.optimizer import OptimizerConfig, completed_by

# The end of the corpus is held out by pretraining: perplexity is measured on it.
_REPLAYED = 0.9
# Where on its way the second variant is kept.
_EARLY = 0.8


_OPTIMIZER = OptimizerConfig(peak=2e-5, warmup_steps=0)


class SftConfig(BaseModel):
    """Section 3.1: cosine from 2e-5, weight decay 0.1, batch 64, sequence 4,096, 2 epochs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(default=2, gt=0, description="passes over the dialogs; 2")
    rows_per_step: int = Field(default=64, gt=0, description="global batch in rows; 64")
    row_length: int = Field(default=4096, gt=0, description="tokens a row; 4,096")
    micro_rows: int = Field(default=4, gt=0, description="rows that go through the model at once")
    valid_share: float = Field(
        default=0.02, ge=0, lt=0.5, description="dialogs held out for the loss"
    )
    replay_rows: int = Field(
        default=0,
        ge=0,
        description="rows of the corpus beside the dialogs of a step; 0, more against forgetting",
    )
    replay_length: int = Field(
        default=0,
        ge=0,
        description="tokens of such a row; 0 takes row_length, which beside few answer tokens is "
        "too much",
    )
    checkpoint_every: int = Field(default=200, gt=0, description="steps between checkpoints")
    precision: Precision = Field(default="bfloat16", description="type of the matrix products")
    optimizer: Annotated[OptimizerConfig, completed_by(_OPTIMIZER)] = _OPTIMIZER
    lora: LoraConfig = LoraConfig()


def run(
    config: SftConfig,
    *,
    base: Path,
    instructions: Sequence[Path],
    workspace: Workspace,
    corpus_shard: Path | None = None,
    max_dialogs: int | None = None,
    share: float = 1.0,
) -> None:
    """Fine-tune the base model on demonstrations into `folder/model`.

    Of the demonstrations, at most `max_dialogs`, a `share` is learned from, drawn at random.

    The model after four fifths of the steps is kept as `folder/early`: a second variant for
    preference collection, which samples its two answers from two models. Much earlier ones answer
    so badly that every comparison is easy.
    """
    dialogs = [dialog for dialog in read_dialogs(instructions) if dialog.is_answered]
    most = round(min(len(dialogs), max_dialogs or len(dialogs)) * share)
    if len(dialogs) > most:
        kept = np.random.default_rng(workspace.seed).permutation(len(dialogs))[:most]
        dialogs = [dialogs[index] for index in sorted(kept)]
    facts = fine_tune(config, base, dialogs, workspace, corpus_shard=corpus_shard, keep_early=True)
    if workspace.ranks.is_first:
        workspace.write_results(facts)


def fine_tune(
    config: SftConfig,
    base: Path,
    dialogs: Sequence[Dialog],
    workspace: Workspace,
    *,
    corpus_shard: Path | None = None,
    keep_early: bool = False,
    num_steps: int | None = None,
) -> dict[str, Any]:
    """Train `base` on dialogs, loss on answers only; returns facts for results.json, {} on a rank
    that is not the first.

    With `replay_rows` each step also reads rows of `corpus_shard`, which `base` was trained on.

    Args:
        num_steps: optimizer steps in place of the config's epochs.

    Raises:
        UserError: no dialog fits into a row.
    """
    tokenizer = load_tokenizer(base)
    if config.lora.rank:
        model = with_adapters(load_language_model(base), config.lora, workspace.seed)
        workspace.say(count_trained(model))
        model = spread(model, workspace, config.precision)
    else:
        model = read_language_model(base, workspace, config.precision)
    fitting, encoded = _encode(dialogs, tokenizer, min(config.row_length, model.config.context))
    # A fixed shuffle picks the held-out dialogs, so they are no tail of one source.
    order = np.random.default_rng(workspace.seed).permutation(len(encoded))
    num_valid = int(len(encoded) * config.valid_share)
    valid = [encoded[index] for index in order[:num_valid]]
    train = [encoded[index] for index in order[num_valid:]]
    replay = None
    if config.replay_rows and corpus_shard is not None:
        replay = open_corpus(corpus_shard, config.replay_length or config.row_length)
    num_rows = _fit(
        config, model, tokenizer, train, valid, replay, fitting, workspace, keep_early, num_steps
    )
    whole = gathered(model, workspace)
    if whole is None:
        return {}
    save_chat_model(whole, tokenizer, workspace.model)
    last = workspace.last_metrics()
    return {
        "dialogs": len(train),
        "dropped_too_long": len(dialogs) - len(encoded),
        "answer_tokens": sum(sum(item.loss_mask) for item in train),
        "rows": num_rows,
        "steps": last["step"] + 1,
        "train_loss": last["loss"],
        "valid_loss": last["valid_loss"],
        "samples": _samples(whole, tokenizer, fitting[:200:50], workspace.seed),
    }


def _fit(
    config: SftConfig,
    model: LanguageModel,
    tokenizer: Tokenizer,
    train: Sequence[EncodedDialog],
    valid: Sequence[EncodedDialog],
    replay: Corpus | None,
    dialogs: Sequence[Dialog],
    workspace: Workspace,
    keep_early: bool,
    num_steps: int | None,
) -> int:
    """Train the model on packed dialogs; returns the number of rows."""
    rows = assign_rows([len(item.ids) for item in train], config.row_length)
    rows_per_step = min(config.rows_per_step, len(rows))
    steps_an_epoch = math.ceil(len(rows) / rows_per_step)
    num_steps = num_steps or config.epochs * steps_an_epoch

    def order(step: int) -> list[int]:
        return row_order(len(rows), rows_per_step, step, workspace.seed)

    def of_dialogs(chosen: Sequence[int]) -> PackedBatch:
        return _pack([train[i] for row in chosen for i in rows[row]], config.row_length)

    def batches(step: int) -> Sequence[PackedBatch]:
        ranks = workspace.ranks.dp_size
        parts = micro_batches(order(step), config.micro_rows, ranks)
        plans: list[tuple[Callable[[Sequence[int]], PackedBatch], Sequence[int]]]
        plans = [(of_dialogs, part) for part in parts]
        if replay is not None:
            read = [max(1, int(shard.num_rows * _REPLAYED)) for shard in replay.shards]
            again = replay.order(read, config.replay_rows, step, workspace.seed)
            plans += [
                (replay.batch, part) for part in micro_batches(again, config.micro_rows, ranks)
            ]
        return Batches(plans, lambda plan: plan[0](plan[1]))

    def loss_sum(batch: PackedBatch) -> Tensor:
        with autocast(config.precision, workspace.device):
            return packed_loss_sum(model, batch, workspace.device)

    flops_a_token = model.config.flops_per_token(config.row_length)
    valid_batches = [
        _pack(valid[at : at + 64], config.row_length) for at in range(0, len(valid), 64)
    ]
    for report, meter in fit(
        model,
        config.optimizer,
        workspace,
        num_steps=num_steps,
        checkpoint_every=config.checkpoint_every,
        micro_batches=batches,
        loss_sum=loss_sum,
        num_items=lambda batch: batch.num_targets,
        unit="tokens",
        precision=config.precision,
        flops=lambda batch: batch.tokens.numel() * flops_a_token,
        sample_ids=lambda step: [item for row in order(step) for item in rows[row]],
    ):
        done = report.step + 1
        if done % steps_an_epoch == 0 or done == num_steps:
            meter.record(report, valid_loss=mean_loss(model, valid_batches, workspace.device))
        else:
            meter.record(report)
        if done % steps_an_epoch == 0 and workspace.ranks.mesh is None:
            sample = _samples(model, tokenizer, dialogs[:1], workspace.seed)[0]
            workspace.show(sample["prompt"], sample["answer"])
        if keep_early and done == max(1, int(_EARLY * num_steps)):
            early = gathered(model, workspace)
            if early is not None:
                save_chat_model(early, tokenizer, workspace.folder / "early")
    return len(rows)


def save_chat_model(model: LanguageModel, tokenizer: Tokenizer, folder: Path) -> None:
    """Write a chat model's folder, tokenizer and chat template included, adapters merged."""
    save_language_model(merged(model), folder, tokenizer.special)
    tokenizer.save(folder, model_max_length=model.config.context)


def _encode(
    dialogs: Sequence[Dialog], tokenizer: Tokenizer, longest: int
) -> tuple[list[Dialog], list[EncodedDialog]]:
    """Dialogs that fit into a row, and their tokens; what is too long is left out, never cut."""
    pairs = zip(dialogs, encode_dialogs(tokenizer, dialogs), strict=True)
    kept = [(dialog, item) for dialog, item in pairs if len(item.ids) <= longest]
    if not kept:
        raise UserError(f"none of {len(dialogs)} dialogs fits into {longest} tokens")
    return [dialog for dialog, _ in kept], [item for _, item in kept]


def _pack(items: Sequence[EncodedDialog], row_length: int) -> PackedBatch:
    return pack(
        [item.ids for item in items], [item.loss_mask for item in items], row_length=row_length
    )


def _samples(
    model: LanguageModel, tokenizer: Tokenizer, dialogs: Sequence[Dialog], seed: int
) -> list[dict[str, str]]:
    prompts = [encode_prompt(tokenizer, dialog.prompt) for dialog in dialogs]
    sampling = Sampling(temperature=0.7, max_new_tokens=64)
    answers = generate(model, prompts, sampling, seed=seed, ends=tokenizer.special.ends)
    return [
        {"prompt": dialog.prompt[-1].content, "answer": tokenizer.decode(samples[0].tokens).strip()}
        for dialog, samples in zip(dialogs, answers, strict=True)
    ]
