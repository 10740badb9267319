"""Lives of rejection sampling, each a process of its own that may be killed at a point.

They are forked from a server that has imported everything already.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from arriero.alignment.scoring import RewardModels
from arriero.inference.engine import Engine
from arriero.stages import rejection, rejection_samples
from arriero.stages.rejection import RejectionConfig
from arriero.stages.workspace import Workspace

PROMPTS_A_PART = 4
# What the process does when it is killed, and how: before the call, or after it.
POINTS: dict[str, tuple[Any, str, bool]] = {
    "sampling": (Engine, "step", False),
    "scoring": (RewardModels, "score", False),
    "writing": (os, "fsync", False),
    "renaming": (Path, "replace", False),
    "renamed": (Path, "replace", True),
}


@dataclass(frozen=True)
class Stage:
    """One stage of rejection sampling, with all that it reads."""

    config: RejectionConfig
    folder: Path
    model: Path
    rewards: tuple[Path, Path]
    prompts: Path
    instructions: Path
    bags: tuple[Path, ...] = ()
    version: str = "v1"

    def run(self) -> None:
        """Do all of it, in this process."""
        self.folder.mkdir(parents=True, exist_ok=True)
        plain = rejection_samples._PROMPTS_A_PART
        rejection_samples._PROMPTS_A_PART = PROMPTS_A_PART
        try:
            rejection.run(
                self.config,
                base=self.model,
                policy=self.model,
                rewards=self.rewards,
                prompts=[self.prompts],
                instructions=[self.instructions],
                workspace=Workspace(self.folder, 0, torch.device("cpu"), lambda line: None),
                bags=self.bags,
                version=self.version,
            )
        finally:
            rejection_samples._PROMPTS_A_PART = plain


def live(stage: Stage, point: str = "", number: int = 0) -> int | None:
    """One life in a process of its own; -9 if it was killed, 0 if it came to its end.

    Args:
        point: one of POINTS; without one nothing happens to it.
        number: of the call of that point at which it is killed, from 1.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "torch._dynamo"])
    process = context.Process(target=_live, args=(stage, point, number))
    process.start()
    process.join(120)
    if process.is_alive():
        process.kill()
        process.join()
        return None
    return process.exitcode


def _live(stage: Stage, point: str, number: int) -> None:
    torch.set_num_threads(1)
    if point:
        owner, name, is_after = POINTS[point]
        setattr(owner, name, _killing(getattr(owner, name), number, is_after))
    stage.run()


def _killing(plain: Callable[..., Any], number: int, is_after: bool) -> Callable[..., Any]:
    calls = 0

    def call(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number and not is_after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = plain(*arguments, **named)
        if calls == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return call
