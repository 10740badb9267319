"""Where a stage works: its folder, its seed, its device, and the one way it speaks."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from arriero.training.checkpoint import hash_file

__all__ = ["Workspace", "hash_file", "write_json"]


@dataclass(frozen=True)
class Workspace:
    """A stage's place in a run.

    Attributes:
        folder: the stage's own folder; nothing is written outside it.
        seed: all randomness of the stage follows from it.
        device: where its models live.
        say: prints one line of progress.
    """

    folder: Path
    seed: int
    device: torch.device
    say: Callable[[str], None]

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
    temporary.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)
