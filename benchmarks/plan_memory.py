"""Peak memory of pretraining on this CPU beside what `arriero plan` says, for several small models.

    python benchmarks/plan_memory.py [SCRATCH]

Each training is a process of its own that runs the stage as `arriero pretrain` does, a few steps,
a held-out loss, a sample, a checkpoint and the model's folder; its peak is what the system counted
as resident, imports and mapped files included. The goal: measured no more than 1.1 times the plan,
and no less than 0.8 times.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from arriero.data.shards import write_tokens
from arriero.road.plan import make_plan
from arriero.road.plan.devices import GIB
from arriero.road.recipe import Recipe, load_recipe
from arriero.stages import pretrain
from arriero.stages.workspace import Ranks, Workspace

LOW, HIGH = 0.8, 1.1
STEPS = 3
VOCAB = 32_000
MODEL_7M = {"dim": 96, "num_layers": 6, "num_heads": 6, "num_kv_heads": 6, "ffn_dim": 256}
MODEL_25M = {"dim": 288, "num_layers": 6, "num_heads": 6, "num_kv_heads": 6, "ffn_dim": 768}
MODEL_60M = {"dim": 512, "num_layers": 8, "num_heads": 8, "num_kv_heads": 2, "ffn_dim": 1536}
DEEP_15M = {"dim": 256, "num_layers": 16, "num_heads": 8, "num_kv_heads": 8, "ffn_dim": 704}
# Name, shape, rows of a step, rows at once, tokens a row, and other keys.
CASES: tuple[tuple[str, dict[str, int], int, int, int, dict[str, Any]], ...] = (
    ("7M float32", MODEL_7M, 4, 4, 256, {}),
    ("25M float32", MODEL_25M, 4, 4, 256, {}),
    ("25M float32, 16 rows at once", MODEL_25M, 16, 16, 256, {}),
    ("25M float32, 4 micro-batches", MODEL_25M, 16, 4, 256, {}),
    ("25M float32, recompute", MODEL_25M, 16, 16, 256, {"parallel.recompute": True}),
    ("25M bfloat16", MODEL_25M, 4, 4, 256, {"pretrain.precision": "bfloat16"}),
    ("60M float32, grouped heads", MODEL_60M, 8, 4, 256, {}),
    ("15M deep, vocabulary 4,096", {**DEEP_15M, "vocab_size": 4096}, 8, 8, 512, {}),
)


def recipe_of(shape: dict[str, int], rows: int, at_once: int, length: int, other: Any) -> Recipe:
    """A recipe for a few steps of pretraining alone."""
    overrides = {f"model.{key}": value for key, value in ({"vocab_size": VOCAB} | shape).items()}
    overrides |= {
        "model.context": length,
        "pretrain.num_tokens": STEPS * rows * length,
        "pretrain.tokens_per_step": rows * length,
        "pretrain.row_length": length,
        "pretrain.micro_rows": at_once,
        "pretrain.valid_every": 2,
        "pretrain.max_valid_rows": 4,
        "sft.row_length": length,
        "rejection.sft.row_length": length,
        "device": "cpu",
        **other,
    }
    return load_recipe("tiny", overrides)


def train(recipe: Recipe, folder: Path) -> None:
    """The stage, on tokens that are there already."""
    workspace = Workspace(
        folder,
        seed=0,
        device=torch.device("cpu"),
        say=lambda _: None,
        ranks=Ranks(recompute=recipe.parallel.recompute),
    )
    pretrain.run(
        recipe.pretrain,
        model_config=recipe.model,
        corpus=[],
        tokenizer_folder=folder / "tokenizer",
        workspace=workspace,
    )


def write_inputs(folder: Path, vocab_size: int, length: int) -> None:
    """A shard of random tokens, and a tokenizer that has words for them."""
    tokens = np.random.default_rng(0).integers(0, vocab_size, 400 * length)
    documents = (tokens[at : at + 100].tolist() for at in range(0, len(tokens), 100))
    write_tokens(documents, vocab_size, folder / "shard")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pairs = [(a, b) for a in alphabet for b in alphabet][: vocab_size - len(alphabet)]
    words = [*alphabet, *(a + b for a, b in pairs)]
    tokenizer = Tokenizer(models.BPE(vocab={w: n for n, w in enumerate(words)}, merges=pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    named = folder / "tokenizer"
    named.mkdir()
    tokenizer.save(str(named / "tokenizer.json"))
    special = {"eos_token": words[0], "pad_token": words[1]}
    (named / "tokenizer_config.json").write_text(json.dumps(special))


def peak_bytes(number: int, folder: Path) -> int:
    """Most memory that the training of a case held at once."""
    command = [sys.executable, str(Path(__file__).resolve()), "--case", str(number), str(folder)]
    child = os.posix_spawn(command[0], command, os.environ)
    _, status, usage = os.wait4(child, 0)
    if status != 0:
        raise SystemExit(f"{' '.join(command)}: status {status}")
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main() -> int:
    """Print a row a case; 1 if the plan was wrong by more than the goal."""
    if sys.argv[1:2] == ["--case"]:
        train(recipe_of(*CASES[int(sys.argv[2])][1:]), Path(sys.argv[3]))
        return 0
    scratch = Path(tempfile.mkdtemp(prefix="plan-", dir=sys.argv[1] if sys.argv[1:] else None))
    wrong = 0
    try:
        print(f"{'pretraining':<32}{'parameters':>12}{'plan MiB':>10}{'measured':>10}{'ratio':>8}")
        for number, (name, *_) in enumerate(CASES):
            recipe = recipe_of(*CASES[number][1:])
            folder = scratch / str(number)
            write_inputs(folder, recipe.model.vocab_size, recipe.pretrain.row_length)
            plan = make_plan(recipe, device="cpu")
            planned = plan.stages[0].parts.total + plan.device.runtime
            measured = peak_bytes(number, folder)
            ratio = measured / planned
            wrong += not LOW <= ratio <= HIGH
            sizes = f"{planned / GIB * 1024:10,.0f}{measured / GIB * 1024:10,.0f}"
            print(f"{name:<32}{recipe.model.num_parameters:>12,}{sizes}{ratio:8.2f}", flush=True)
            shutil.rmtree(folder)
        print(f"{wrong} of {len(CASES)} outside {LOW} to {HIGH}")
        return int(wrong > 0)
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    sys.exit(main())
