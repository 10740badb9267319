"""Adapters beside full fine-tuning: time of a step, memory, size of a checkpoint.

    python benchmarks/lora.py [--recipe laptop] [--rank 16] [--steps 4] [--rounds 12] [--threads 1]

The time is that of a whole step of fine-tuning on one row, full and adapted in turns in one
process, each at its best of all rounds, so that other work on the machine counts little.

Memory is that of the stages themselves with the recipe's settings, on fresh weights and made-up
words, each in a process of its own whose allocator gives back at once what is no longer used: the
most that it held, less what it held before the stage began. That is weights, gradients, optimizer,
activations, the sampler's weights and cache.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch

from arriero.data.writing import write_preferences, write_prompts
from arriero.model.heads import LanguageModel, ScoreModel
from arriero.model.lora import LoraConfig, with_adapters
from arriero.model.weights import save_language_model, save_score_model
from arriero.records import Dialog, Message, Preference, Prompt
from arriero.road.recipe import Recipe, load_recipe
from arriero.stages import ppo, reward, sft
from arriero.stages.workspace import Workspace
from arriero.tokenizer import load_tokenizer, train_tokenizer
from arriero.training.optimizer import adamw

STAGES = ("sft", "reward", "ppo")


def words(count: int, seed: int) -> str:
    draw = random.Random(seed)
    syllables = [a + b for a in "bdfgklmnprstvz" for b in "aeiou"]
    return " ".join("".join(draw.choices(syllables, k=draw.randint(1, 4))) for _ in range(count))


def prepare(recipe: Recipe, folder: Path) -> None:
    """A tokenizer, a chat model and two reward models of the recipe's shape."""
    texts = [words(200, seed) for seed in range(400)]
    train_tokenizer(texts, folder / "tokenizer", recipe.model.vocab_size)
    tokenizer = load_tokenizer(folder / "tokenizer")
    language = LanguageModel.fresh(recipe.model, seed=0)
    save_language_model(language, folder / "chat", tokenizer.special)
    for seed, name in enumerate(("helpfulness", "safety")):
        score = ScoreModel.from_language_model(LanguageModel.fresh(recipe.model, seed), seed)
        save_score_model(score, folder / name, tokenizer.special)
    for name in ("chat", "helpfulness", "safety"):
        tokenizer.save(folder / name, model_max_length=recipe.model.context)
    prompts = [Prompt(str(n), (Message("user", words(20, n)),), "helpfulness") for n in range(256)]
    write_prompts(folder / "prompts.jsonl", prompts)
    pairs = [
        Preference((Message("user", words(20, n)),), words(40, n + 1), words(40, n + 2))
        for n in range(recipe.reward.pairs_per_step * 2)
    ]
    write_preferences(folder / "pairs.jsonl", pairs)


def measure(stage: str, rank: int, recipe: Recipe, folder: Path, steps: int, threads: int) -> Any:
    """Run one stage; in a process of its own."""
    torch.set_num_threads(threads)
    place = Path(tempfile.mkdtemp(dir=folder))
    said: list[str] = []
    space = Workspace(place, 0, torch.device("cpu"), said.append)
    lora = LoraConfig(rank=rank)
    # The peak of the imports was higher than what they left.
    before = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    if stage == "sft":
        config = recipe.sft.model_copy(
            update={"lora": lora, "epochs": 1, "replay_rows": 0, "valid_share": 0.0}
        )
        rows = config.rows_per_step * steps
        length = config.row_length // 12  # some four tokens a made-up word, prompt and answer
        dialogs = [
            Dialog((Message("user", words(length, n)),)).answered(words(length, n + 1))
            for n in range(rows)
        ]
        sft.fine_tune(config, folder / "chat", dialogs, space)
    elif stage == "reward":
        reward.run(
            recipe.reward.model_copy(update={"lora": lora}),
            track="helpfulness",
            start=folder / "chat",
            train={"helpfulness": [folder / "pairs.jsonl"]},
            test={},
            workspace=space,
        )
    else:
        ppo.run(
            recipe.ppo.model_copy(
                update={"lora": lora, "iterations": 1, "held_out_prompts": 8, "held_out_every": 9}
            ),
            start=folder / "chat",
            rewards=(folder / "helpfulness", folder / "safety"),
            prompts=[folder / "prompts.jsonl"],
            held_out=[folder / "prompts.jsonl"],
            workspace=space,
        )
    saved = sum(
        path.stat().st_size
        for path in sorted(space.checkpoints.glob("step-*"))[-1].rglob("*.safetensors")
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"memory": peak - before, "checkpoint": saved}


def step_seconds(recipe: Recipe, rank: int, rounds: int) -> dict[int, float]:
    """Best time of a step on one row of fine-tuning, by rank; 0 is full fine-tuning."""
    whole = LanguageModel.fresh(recipe.model, seed=0)
    base = LanguageModel.fresh(recipe.model, seed=0)
    models = {0: whole, rank: with_adapters(base, LoraConfig(rank=rank), seed=0)}
    optimizers = {name: adamw([model], recipe.sft.optimizer) for name, model in models.items()}
    shape = (1, recipe.sft.row_length)
    tokens = torch.randint(0, recipe.model.vocab_size, shape)
    places = torch.arange(shape[1])[None]
    counted = torch.ones(shape, dtype=torch.bool)
    best = dict.fromkeys(models, float("inf"))
    for _ in range(rounds):
        for name, model in models.items():
            began = time.perf_counter()
            loss = model.token_loss_sum(
                tokens, tokens, counted, positions=places, segments=0 * places, chunk=4096
            )
            (loss / shape[1]).backward()
            optimizers[name].step()
            optimizers[name].zero_grad()
            best[name] = min(best[name], time.perf_counter() - began)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--recipe", default="laptop")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    recipe = load_recipe(options.recipe)
    print(f"{options.recipe}: {recipe.model.num_parameters:,} parameters, rank {options.rank}")
    torch.set_num_threads(options.threads)
    seconds = step_seconds(recipe, options.rank, options.rounds)
    share = seconds[options.rank] / seconds[0]
    print(f"a step: full {seconds[0]:.3f} s, adapted {seconds[options.rank]:.3f} s, {share:.2f}")
    # The processes start with it.
    os.environ["MALLOC_MMAP_THRESHOLD_"] = "65536"
    print("stage    rank   memory MB   checkpoint MB")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(recipe, folder)
        for stage in STAGES:
            for rank in (0, options.rank):
                context = multiprocessing.get_context("spawn")
                with ProcessPoolExecutor(1, mp_context=context) as pool:
                    found = pool.submit(
                        measure, stage, rank, recipe, folder, options.steps, options.threads
                    ).result()
                print(
                    f"{stage:8} {rank:4} {found['memory'] / 1e6:11.0f} "
                    f"{found['checkpoint'] / 1e6:15.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
