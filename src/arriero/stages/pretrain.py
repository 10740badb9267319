"""Stage `pretrain`: next-token prediction over the corpus (section 2.2).

Rows of the corpus are read in a random order, each source in a share of its own where sources have
weights (see data.mixing).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from arriero.data.batches import Batches, micro_batches
from arriero.data.mixing import Source, open_corpus
from arriero.data.packing import PackedBatch
from arriero.inference.generate import Sampling, generate
from arriero.model.config import ModelConfig
from arriero.model.heads import LanguageModel
from arriero.model.weights import save_language_model
from arriero.records import UserError
from arriero.stages.corpus import SHARD, tokenise
from arriero.stages.fitting import autocast, fit
from arriero.stages.placement import fresh_language_model, gathered, read_language_model
from arriero.stages.pretrain_config import PretrainConfig
from arriero.stages.reading import held_out_rows, in_batches, openings_of, reading
from arriero.stages.token_loss import mean_loss, packed_loss_sum
from arriero.stages.workspace import Workspace
from arriero.tokenizer.load import load_tokenizer
from arriero.tokenizer.tokenizer import Tokenizer

__all__ = ["PretrainConfig", "run"]


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
    openings = openings_of(text, held_out)
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
                for sample in _samples(model, openings[:1], tokenizer, workspace.seed):
                    workspace.show(sample["prompt"], sample["text"])
        else:
            meter.record(report)
    losses = [loss_of(rows) for rows in (all_held_out, *(held_out if sources else ()))]
    whole = gathered(model, workspace)
    if whole is None:
        return
    save_language_model(whole, workspace.model, tokenizer.special)
    tokenizer.save(workspace.model, model_max_length=model_config.context)
    valid_loss, *of_sources = losses
    facts = {
        "parameters": model_config.num_parameters,
        "tokens": config.num_steps * config.rows_per_step * config.row_length,
        "corpus_tokens": text.num_tokens,
        "train_loss": workspace.last_metrics()["loss"] if config.num_steps else None,
        "valid_loss": valid_loss,
        "perplexity": None if valid_loss is None else math.exp(valid_loss),
        "samples": _samples(whole, openings, tokenizer, workspace.seed),
    }
    if sources:
        read = zip(reading(config, text), of_sources, strict=True)
        facts["sources"] = [{**fact, "valid_loss": loss} for fact, loss in read]
    workspace.write_results(facts)


def _samples(
    model: LanguageModel, openings: Sequence[list[int]], tokenizer: Tokenizer, seed: int
) -> list[dict[str, str]]:
    """How the model goes on from each opening."""
    sampling = Sampling(temperature=0.7, max_new_tokens=40)
    continuations = generate(model, openings, sampling, seed=seed, ends=tokenizer.special.ends)
    return [
        {"prompt": tokenizer.decode(opening), "text": tokenizer.decode(samples[0].tokens)}
        for opening, samples in zip(openings, continuations, strict=True)
    ]
