"""PPO that kills itself, as kill -9 does, in the midst of its work.

    python killed.py CHAT HELPFULNESS SAFETY PLACE FOLDER WHERE ITERATION

WHERE is sampling, scoring, updating or nowhere; ITERATION, from 0, is when.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch

from arriero.alignment import scoring
from arriero.inference.engine import Engine
from arriero.stages import ppo, ppo_iteration
from arriero.stages.workspace import Workspace
from arriero.training.optimizer import OptimizerConfig

PPO = ppo.PpoConfig(
    iterations=5,
    samples=12,
    mini_batch=5,
    beta=0.05,
    max_new_tokens=8,
    held_out_every=2,
    checkpoint_every=2,
    critic_peak=1e-3,
    optimizer=OptimizerConfig(peak=3e-3, warmup_steps=0, final_share=1.0),
)
UNDER_WAY: list[int] = []


def kill_at(where: str, iteration: int) -> None:
    """Put a kill into the work of one iteration; nothing is cleaned up after it."""
    of_iteration = ppo.iterate

    def iterate(*arguments: Any) -> Any:
        UNDER_WAY.append(arguments[5])
        return of_iteration(*arguments)

    def deadly(plain: Any, calls_before: int) -> Any:
        left = [calls_before]

        def call(*arguments: Any, **more: Any) -> Any:
            if UNDER_WAY and UNDER_WAY[-1] == iteration:
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return plain(*arguments, **more)

        return call

    ppo.iterate = iterate
    match where:
        case "sampling":
            Engine.step = deadly(Engine.step, 3)
        case "scoring":
            scoring.score_sequences = deadly(scoring.score_sequences, 1)
        case "updating":
            ppo_iteration.update = deadly(ppo_iteration.update, 2)
        case _:
            pass


def main() -> None:
    start, *rewards, place, folder = map(Path, sys.argv[1:6])
    torch.set_num_threads(1)
    kill_at(sys.argv[6], int(sys.argv[7]))
    folder.mkdir(parents=True, exist_ok=True)
    ppo.run(
        PPO,
        start=start,
        rewards=(rewards[0], rewards[1]),
        general=rewards[1],
        prompts=[place / "prompts.jsonl"],
        held_out=[place / "held-out.jsonl"],
        workspace=Workspace(folder, 0, torch.device("cpu"), lambda line: None),
    )


main()
