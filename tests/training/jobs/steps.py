"""Some steps of training on the ranks that torchrun starts; the first rank writes what came out.

    torchrun --nproc-per-node N steps.py FOLDER TENSOR START STOP

Goes on from the checkpoint in FOLDER, if there is one, and leaves one; `out-N-TENSOR.pt` holds the
losses, the sample ids that each share of the data took, and the weights.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist

from arriero.data.batches import Batches
from arriero.model.config import ModelConfig
from arriero.model.heads import LanguageModel
from arriero.model.transformer import drawn
from arriero.training.checkpoint import load_checkpoint, write_checkpoint
from arriero.training.loop import train
from arriero.training.optimizer import OptimizerConfig, adamw
from arriero.training.parallel import distribute, fill, whole_tensors
from arriero.training.ranks import ParallelConfig, end_ranks, start_ranks

CONFIG = ModelConfig(
    vocab_size=97,
    dim=32,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    ffn_dim=48,
    context=32,
    attention_bias=True,  # tensor-parallel ranks hold copies of some of them
    mlp_bias=True,
)
ROWS, LENGTH, MICRO_ROWS, ROWS_A_STEP = 64, 16, 2, 10


def main() -> None:
    folder, tensor, start, stop = Path(sys.argv[1]), *map(int, sys.argv[2:5])
    torch.set_num_threads(1)
    device = torch.device("cpu")
    ranks = start_ranks(ParallelConfig(tensor=tensor, recompute=tensor > 1), device)
    # Whatever the mesh, one rank that was asked to stop is heard by all.
    assert ranks.most(ranks.number) == ranks.size - 1
    with torch.device("meta"):
        model = LanguageModel(CONFIG)
    distribute(model, list(model.model.layers), ranks, "float32")
    generator = torch.Generator().manual_seed(5)
    fill(model, device, lambda name, shape: drawn(name, shape, CONFIG.num_layers, generator))
    optimizer = adamw([model], OptimizerConfig(peak=5e-3, clip=0.5))
    data = torch.randint(0, 97, (ROWS, LENGTH + 1), generator=torch.Generator().manual_seed(6))
    # Some rows count little, so that a mean of means would show.
    counted = torch.rand(ROWS, LENGTH, generator=torch.Generator().manual_seed(7)) < 0.5
    counted[::5] = False
    taken: list[tuple[int, list[int]]] = []

    def micro_batches(step: int) -> Batches[list[int], list[int]]:
        rows = [(step * ROWS_A_STEP + i) % ROWS for i in range(ROWS_A_STEP)]
        plans = [rows[i : i + MICRO_ROWS] for i in range(0, len(rows), MICRO_ROWS)]

        def make(plan: list[int]) -> list[int]:
            taken.append((step, plan))
            return plan

        return Batches(plans, make)

    def loss_sum(rows: list[int]) -> torch.Tensor:
        logits = model(data[rows, :-1])
        losses = torch.nn.functional.cross_entropy(
            logits.transpose(1, 2), data[rows, 1:], reduction="none"
        )
        return losses[counted[rows]].sum()

    state = load_checkpoint(folder, {"model": model}, {"adamw": optimizer}, ranks=ranks)
    assert (0 if state is None else state["step"]) == start
    losses = [
        report.loss
        for report in train(
            optimizer=optimizer,
            micro_batches=micro_batches,
            loss_sum=loss_sum,
            num_items=lambda rows: int(counted[rows].sum()),
            learning_rate=lambda step: 5e-3,
            clip=0.5,
            start=start,
            stop=stop,
            ranks=ranks,
        )
    ]
    write_checkpoint(folder, stop, {"model": model}, {"adamw": optimizer}, {}, ranks=ranks).wait()
    weights = {name: value.clone() for name, value in whole_tensors(model)}
    of_all: list[object] = [taken]
    if ranks.mesh is not None:
        of_all = [None] * ranks.size
        dist.all_gather_object(of_all, taken)
    if ranks.is_first:
        found = {"losses": losses, "taken": of_all, "weights": weights}
        torch.save(found, folder / f"out-{ranks.size}-{tensor}.pt")
    end_ranks(ranks)


main()
