"""What a checkpoint costs the training: seconds in which no step is taken.

    python benchmarks/checkpoints.py [--saves 8] [--folder FOLDER]
    torchrun --standalone --nproc-per-node 2 benchmarks/checkpoints.py

25 million parameters with a vocabulary of 32,000, weights and both moments in float32: 293 MB. The
share is that of a run which saves once a minute. Between two saves the tensors change and the disk
has a few seconds, as it would have in training.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import torch

from arriero.model.config import ModelConfig
from arriero.model.heads import LanguageModel
from arriero.model.transformer import drawn
from arriero.training.checkpoint import Flush, write_checkpoint
from arriero.training.optimizer import OptimizerConfig, adamw
from arriero.training.parallel import distribute, fill
from arriero.training.ranks import ParallelConfig, end_ranks, start_ranks

SHAPE = ModelConfig(
    vocab_size=32_000,
    dim=288,
    num_layers=6,
    num_heads=6,
    num_kv_heads=6,
    ffn_dim=768,
    context=256,
)


def main() -> None:
    """Save, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--saves", type=int, default=8)
    parser.add_argument("--pause", type=float, default=3.0, help="seconds between two saves")
    parser.add_argument("--folder", type=Path, help="on the disk to measure; default: a new one")
    options = parser.parse_args()
    device = torch.device("cpu")
    ranks = start_ranks(ParallelConfig(), device)
    folder = ranks.agreed(options.folder or Path(tempfile.mkdtemp(prefix="checkpoints-")))
    with torch.device("meta"):
        model = LanguageModel(SHAPE)
    distribute(model, list(model.model.layers), ranks, "float32")
    generator = torch.Generator().manual_seed(0)
    fill(model, device, lambda name, shape: drawn(name, shape, SHAPE.num_layers, generator))
    optimizer = adamw([model], OptimizerConfig(peak=1e-3))
    seconds: list[float] = []
    flush: Flush | None = None
    for number in range(options.saves):
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, 1e-3)
        optimizer.step()
        time.sleep(options.pause)
        ranks.barrier()
        began = time.perf_counter()
        flush = write_checkpoint(
            folder, number, {"m": model}, {"adamw": optimizer}, {}, ranks=ranks, after=flush
        )
        seconds.append(time.perf_counter() - began)
    assert flush is not None
    flush.wait()
    if ranks.is_first:
        size = sum(path.stat().st_size for path in folder.glob("step-*/*")) / 2e6
        mean = statistics.mean(seconds)
        print(
            f"{ranks.size} rank(s), {size:.0f} MB: {min(seconds):.2f} to {max(seconds):.2f} s, "
            f"{mean:.2f} in the mean of {len(seconds)}; once a minute {mean / (60 + mean):.1%}"
        )
        shutil.rmtree(folder)
    end_ranks(ranks)


if __name__ == "__main__":
    main()
