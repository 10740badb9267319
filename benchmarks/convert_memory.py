"""Peak memory of `arriero convert` on a model of 1.1 billion parameters, in every direction.

    python benchmarks/convert_memory.py [SCRATCH]

Each conversion is a process of its own, as a user starts it; its peak is what the system counted as
resident, imports and mapped files included. The goal is 1.15 times the model's own size. Needs
about 15 GB of disk in SCRATCH (default: a temporary folder) for some minutes.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from arriero.model.config import ModelConfig
from arriero.model.weights import Checkpoint, write_hugging_face
from arriero.model.weights.lazy import LazyTensor
from arriero.model.weights.shapes import weight_shapes
from arriero.records import SpecialIds

GOAL = 1.15
CONFIG = ModelConfig(
    dim=2048, num_layers=22, num_heads=32, num_kv_heads=4, ffn_dim=5632, context=4096
)
# Source, target, options: to every layout, from every layout, in one file and in several.
CONVERSIONS = (
    ("hf", "shards", "--to hugging-face --max-shard-size 500MB"),
    ("shards", "float32", "--to hugging-face --dtype float32"),
    ("hf", "meta", "--to meta"),
    ("hf", "meta-2", "--to meta --shards 2"),
    ("meta", "back", "--to hugging-face"),
    ("meta-2", "back-2", "--to hugging-face"),
    ("hf", "bf16.gguf", "--to gguf"),
    ("hf", "q8.gguf", "--to gguf --dtype q8_0"),
    ("meta-2", "f32.gguf", "--to gguf --dtype float32"),
)


def main() -> int:
    """Print a row a conversion; 1 if one of them took more than the goal."""
    place = sys.argv[1] if len(sys.argv) > 1 else None
    scratch = Path(tempfile.mkdtemp(prefix="convert-", dir=place))
    try:
        write_model(scratch / "hf")
        size = 2 * CONFIG.num_parameters
        print(f"model: {CONFIG.num_parameters:,} parameters, {size / 1e9:.2f} GB in bfloat16")
        print(f"{'from':>8}  {'to':<12}{'peak GB':>8}{'x model':>9}{'seconds':>9}")
        worst = 0.0
        for source, target, options in CONVERSIONS:
            began = time.perf_counter()
            peak = peak_bytes(scratch / source, scratch / target, options.split())
            seconds = time.perf_counter() - began
            worst = max(worst, peak / size)
            print(f"{source:>8}  {target:<12}{peak / 1e9:8.2f}{peak / size:9.2f}{seconds:9.1f}")
        print(f"worst {worst:.2f}, goal {GOAL}")
        return int(worst > GOAL)
    finally:
        shutil.rmtree(scratch)


def write_model(folder: Path) -> None:
    """Random weights, drawn one tensor at a time, and a tokenizer of the same vocabulary."""
    generator = torch.Generator().manual_seed(0)

    def drawn(shape: tuple[int, ...]) -> LazyTensor:
        def read() -> torch.Tensor:
            return torch.empty(shape, dtype=torch.bfloat16).normal_(0, 0.02, generator=generator)

        return LazyTensor(shape, torch.bfloat16, read)

    tensors = {name: drawn(shape) for name, shape in weight_shapes(CONFIG, "language")}
    checkpoint = Checkpoint(CONFIG, "language", tensors)
    write_hugging_face(checkpoint, folder, SpecialIds(bos=None, ends=(0,), pad=1))
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pairs = [(a, b) for a in alphabet for b in alphabet][: CONFIG.vocab_size - len(alphabet)]
    words = [*alphabet, *(a + b for a, b in pairs)]
    vocab = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"eos_token": words[0], "pad_token": words[1]}
    (folder / "tokenizer_config.json").write_text(json.dumps(names))


def peak_bytes(source: Path, target: Path, options: list[str]) -> int:
    """Most memory that a conversion held at once."""
    command = [sys.executable, "-m", "arriero.cli", "convert", str(source), str(target), *options]
    quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    child = os.posix_spawn(command[0], command, os.environ, file_actions=quiet)
    _, status, usage = os.wait4(child, 0)
    if status != 0:
        raise SystemExit(f"{' '.join(command)}: status {status}")
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    sys.exit(main())
