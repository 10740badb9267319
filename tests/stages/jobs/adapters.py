"""Fine-tuning with adapters on the ranks that torchrun starts.

    torchrun --nproc-per-node N adapters.py STAGE START FILE FOLDER TENSOR

STAGE is sft or reward, START a chat model's folder, FILE its training data.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from arriero.model.lora import LoraConfig
from arriero.records import UserError
from arriero.stages import reward, sft
from arriero.stages.reward_config import RewardConfig
from arriero.stages.reward_mix import MixConfig
from arriero.stages.workspace import Workspace
from arriero.training.optimizer import OptimizerConfig
from arriero.training.ranks import ParallelConfig, end_ranks, start_ranks

LORA = LoraConfig(rank=4)
OPTIMIZER = OptimizerConfig(peak=1e-2, warmup_steps=0)
SFT = sft.SftConfig(
    epochs=5,
    rows_per_step=4,
    row_length=64,
    micro_rows=1,
    valid_share=0.1,
    precision="float32",
    optimizer=OPTIMIZER,
    lora=LORA,
)
REWARD = RewardConfig(
    pairs_per_step=8,
    micro_pairs=2,
    precision="float32",
    optimizer=OPTIMIZER,
    lora=LORA,
)


def main() -> None:
    stage, start, file, folder = sys.argv[1], *map(Path, sys.argv[2:5])
    torch.set_num_threads(1)
    device = torch.device("cpu")
    # Recomputed activations, too, must go through the adapters.
    ranks = start_ranks(ParallelConfig(tensor=int(sys.argv[5]), recompute=True), device)
    space = Workspace(folder, 0, device, lambda line: None, ranks)
    try:
        run(stage, start, file, space)
    except UserError as error:
        if ranks.is_first:
            (folder / "refused.txt").write_text(str(error))
    end_ranks(ranks)


def run(stage: str, start: Path, file: Path, space: Workspace) -> None:
    if stage == "sft":
        sft.run(SFT, base=start, instructions=[file], workspace=space)
    else:
        reward.run(
            REWARD,
            track="helpfulness",
            mix=MixConfig(),
            start=start,
            train={"helpfulness": [file]},
            test={"helpfulness": [file]},
            workspace=space,
        )


main()
