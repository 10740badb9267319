"""Adapters beside full fine-tuning: seconds a step, memory, size of a checkpoint.

    python benchmarks/lora.py [--recipe laptop] [--rank 16] [--steps 12] [--threads 2]

Runs the stages themselves with the recipe's settings, on fresh weights and made-up words, each in a
process of its own. Memory is the most that the process held at once, less what it held before the
stage began: weights, gradients, optimizer, activations, the sampler's cache.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import resource
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch

from arriero.data.writing import write_preferences, write_prompts
from arriero.model.heads import LanguageModel, ScoreModel
from arriero.model.lora import LoraConfig
from arriero.model.weights import save_language_model, save_score_model
from arriero.records import Dialog, Message, Preference, Prompt
from arriero.road.recipe import Recipe, load_recipe
from arriero.stages import ppo, reward, sft
from arriero.stages.workspace import Workspace
from arriero.tokenizer import load_tokenizer, train_tokenizer

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
        for n in range(recipe.reward.pairs_per_step * 16)
    ]
    write_preferences(folder / "pairs.jsonl", pairs)


def measure(stage: str, rank: int, recipe: Recipe, folder: Path, steps: int, threads: int) -> Any:
    """Run one stage; in a process of its own."""
    torch.set_num_threads(threads)
    place = folder / f"{stage}-{rank}"
    place.mkdir()
    said: list[str] = []
    space = Workspace(place, 0, torch.device("cpu"), said.append)
    lora = LoraConfig(rank=rank)
    before = _peak()
    began = time.perf_counter()
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
                update={"lora": lora, "iterations": 3, "held_out_prompts": 8, "held_out_every": 9}
            ),
            start=folder / "chat",
            rewards=(folder / "helpfulness", folder / "safety"),
            prompts=[folder / "prompts.jsonl"],
            held_out=[folder / "prompts.jsonl"],
            workspace=space,
        )
    whole = time.perf_counter() - began
    lines = [json.loads(line) for line in space.metrics.read_text().splitlines()]
    if stage == "ppo":
        seconds = whole / len(lines)
    else:
        unit = "tokens" if stage == "sft" else "pairs"
        seconds = statistics.median(line[unit] / line[f"{unit}_per_s"] for line in lines[2:])
    saved = sum(
        path.stat().st_size
        for path in sorted(space.checkpoints.glob("step-*"))[-1].rglob("*.safetensors")
    )
    return {"seconds": seconds, "memory": _peak() - before, "checkpoint": saved}


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--recipe", default="laptop")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    recipe = load_recipe(options.recipe)
    print(f"{options.recipe}: {recipe.model.num_parameters:,} parameters, rank {options.rank}")
    print("stage    rank   s a step   memory MB   checkpoint MB")
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
                    f"{stage:8} {rank:4} {found['seconds']:10.3f} {found['memory'] / 1e6:11.0f} "
                    f"{found['checkpoint'] / 1e6:15.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
