"""Where a stage works: its folder, its seed, its device, and the one way it speaks."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from arriero.equations.carbon import GRID_INTENSITY
from arriero.stages.figures import FiguresConfig
from arriero.training.checkpoint import clear_checkpoints, hash_file
from arriero.training.figures import Machine, matmul_flops, memory_peak
from arriero.training.parallel import Precision
from arriero.training.ranks import (
    ALONE,
    ParallelConfig,
    Ranks,
    end_ranks,
    is_lost_rank,
    missing_ranks,
    start_ranks,
)
from arriero.training.sinks import Sink

__all__ = [
    "ALONE",
    "ParallelConfig",
    "Ranks",
    "Workspace",
    "clear_checkpoints",
    "end_ranks",
    "hash_file",
    "is_lost_rank",
    "matmul_flops",
    "memory_peak",
    "missing_ranks",
    "start_ranks",
    "write_json",
]


_MUCH_SLOWER = 2.0


@dataclass(frozen=True)
class Workspace:
    """A stage's place in a run.

    Attributes:
        folder: the stage's own folder; nothing is written outside it.
        seed: all randomness of the stage follows from it.
        device: where its models live.
        say: prints one line of progress.
        ranks: the processes that work on the stage together.
        figures: where its figures go beside metrics.jsonl.
        watts: power of a device.
        carbon_intensity: kg CO2eq a kWh.
    """

    folder: Path
    seed: int
    device: torch.device
    say: Callable[[str], None]
    ranks: Ranks = ALONE
    figures: FiguresConfig = field(default_factory=FiguresConfig)
    watts: float = 0.0
    carbon_intensity: float = GRID_INTENSITY

    @property
    def model(self) -> Path:
        """The stage's result as a Hugging Face folder."""
        return self.folder / "model"

    @property
    def checkpoints(self) -> Path:
        """Checkpoints of a stage under way."""
        return self.folder / "checkpoints"

    @property
    def metrics(self) -> Path:
        """One JSON object a step."""
        return self.folder / "metrics.jsonl"

    def machine(self, precision: Precision) -> Machine:
        """What the stage's figures are measured against; all ranks together."""
        dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        size = self.ranks.size
        if dtype == torch.bfloat16 and self.device.type == "cpu":
            times = matmul_flops(self.device, torch.float32) / matmul_flops(self.device, dtype)
            if times > _MUCH_SLOWER:
                self.say(
                    f"this processor multiplies bfloat16 {times:.0f} times as slowly as float32; "
                    "precision = float32 is faster"
                )
        return Machine(
            self.device,
            size * matmul_flops(self.device, dtype),
            size * self.watts,
            self.carbon_intensity,
            self.ranks.dp_size,
        )

    def sinks(self, start: int) -> list[Sink]:
        """Where figures go beside metrics.jsonl, for a stage that goes on at step `start`."""
        return self.figures.sinks(self.folder, start, self.say) if self.ranks.is_first else []

    def show(self, prompt: str, answer: str) -> None:
        """Say a sample, on one line."""
        self.say(f"{' '.join(prompt.split())} -> {' '.join(answer.split())}")

    def last_metrics(self) -> dict[str, Any]:
        """The last line of the metrics, whichever process wrote it."""
        lines = self.metrics.read_text(encoding="utf-8").splitlines()
        return json.loads(lines[-1])

    def write_results(self, results: dict[str, Any]) -> None:
        """Write results.json, whole or not at all."""
        write_json(self.folder / "results.json", results)


def write_json(path: Path, value: Any) -> None:
    """Write JSON by way of a temporary file, so that a reader never sees half of it."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(json.dumps(value, indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())  # else a power cut may leave the name without the contents
    temporary.replace(path)
