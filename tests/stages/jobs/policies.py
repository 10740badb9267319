"""PPO and rejection sampling on the ranks that torchrun starts.

    torchrun --nproc-per-node N policies.py CHAT HELPFULNESS SAFETY PLACE FOLDER TENSOR STAGE...

CHAT, HELPFULNESS and SAFETY are model folders, PLACE holds the data, and each STAGE, one of STAGES,
works in a folder of its own in FOLDER; what is refused stands in refused.txt there.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from arriero.inference.engine import Engine
from arriero.inference.request import Drawn
from arriero.model.lora import LoraConfig
from arriero.records import Stopped, UserError
from arriero.stages import ppo, ppo_iteration, rejection
from arriero.stages.sampling import Answer
from arriero.stages.sft import SftConfig
from arriero.stages.workspace import Workspace
from arriero.training.optimizer import OptimizerConfig
from arriero.training.ranks import ParallelConfig, end_ranks, start_ranks

PPO = ppo.PpoConfig(
    iterations=3,
    samples=12,
    # The last mini-batch of an iteration has two answers, and they are as long as it gets.
    mini_batch=5,
    beta=0.05,
    max_new_tokens=8,
    held_out_every=2,
    checkpoint_every=2,
    critic_peak=1e-3,
    optimizer=OptimizerConfig(peak=3e-3, warmup_steps=0, final_share=1.0),
)
REJECTION = rejection.RejectionConfig(
    samples_per_prompt=4,
    temperatures=(0.7, 1.3),
    fitting_prompts=4,
    max_new_tokens=8,
    sft_share=0.25,
    sft=SftConfig(epochs=1, rows_per_step=4, row_length=64, micro_rows=2, precision="float32"),
)
SAMPLED = ppo_iteration.sampled
# An odd number of prompts, one mini-batch of a single answer: a rank with nothing to do.
STAGES: dict[str, Any] = {
    "full": PPO,
    "fresh": PPO.model_copy(update={"samples": 11, "critic_from": "fresh", "critic_warmup": 1}),
    "lora": PPO.model_copy(update={"samples": 11, "lora": LoraConfig(rank=4)}),
    # The last rank alone is asked to stop, and the stage is run once more.
    "asked": PPO,
    # Answers come from the server at $SAMPLER_URL.
    "served": PPO.model_copy(update={"sampler_url": os.environ.get("SAMPLER_URL", "")}),
    "served-rejection": REJECTION.model_copy(
        update={"sampler_url": os.environ.get("SAMPLER_URL", "")}
    ),
    "rejection": REJECTION,
    # A second version, which remembers the samples of the first.
    "remembering": REJECTION,
}


def main() -> None:
    start, *rewards, place, folder = map(Path, sys.argv[1:6])
    torch.set_num_threads(1)
    device = torch.device("cpu")
    # Recomputed activations, too, must go through all of it.
    tensor = int(sys.argv[6])
    ranks = start_ranks(ParallelConfig(tensor=tensor, recompute=tensor > 1), device)
    for name in sys.argv[7:]:
        (folder / name).mkdir(parents=True, exist_ok=True)
        remembers = name == "remembering"
        space = Workspace(folder / name, int(remembers), device, lambda line: None, ranks)
        bags = [folder / "rejection"] if remembers else []
        keep_rollouts(space)
        try:
            if name == "asked":
                with asked_while_it_samples(space), pytest.raises(Stopped):
                    run(STAGES[name], start, (rewards[0], rewards[1]), place, space)
            run(STAGES[name], start, (rewards[0], rewards[1]), place, space, bags)
        except UserError as error:
            if ranks.is_first:
                (folder / name / "refused.txt").write_text(str(error))
    end_ranks(ranks)


def keep_rollouts(space: Workspace) -> None:
    """Let the first rank write what PPO samples, as ids, a line an iteration."""

    def sampled(*arguments: Any) -> list[Answer]:
        answers = SAMPLED(*arguments)
        if space.ranks.is_first:
            with (space.folder / "rollouts.jsonl").open("a") as file:
                file.write(json.dumps([answer.ids for answer in answers]) + "\n")
        return answers

    ppo_iteration.sampled = sampled


@contextmanager
def asked_while_it_samples(space: Workspace) -> Iterator[None]:
    """SIGTERM for the last rank in the midst of the first samples after a checkpoint."""
    plain = Engine.step

    def step(engine: Engine) -> list[Drawn]:
        is_last = space.ranks.number == space.ranks.size - 1
        if is_last and space.checkpoints.is_dir() and engine.drawn_tokens > 10:
            os.kill(os.getpid(), signal.SIGTERM)
        return plain(engine)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Engine, "step", step)
        yield


def run(
    config: Any,
    start: Path,
    rewards: tuple[Path, Path],
    place: Path,
    space: Workspace,
    bags: Sequence[Path] = (),
) -> None:
    prompts = [place / "prompts.jsonl"]
    if isinstance(config, ppo.PpoConfig):
        held_out = [place / "held-out.jsonl"]
        ppo.run(
            config,
            start=start,
            rewards=rewards,
            prompts=prompts,
            held_out=held_out,
            workspace=space,
        )
        return
    rejection.run(
        config,
        base=start,
        policy=start,
        rewards=rewards,
        prompts=prompts,
        instructions=[place / "instructions.jsonl"],
        workspace=space,
        bags=bags,
        version=f"v{1 + len(bags)}",
    )


main()
