"""Where the figures of all stages go beside their metrics.jsonl: the section `[figures]`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from arriero.training.sinks import Sink, check_sinks, open_sinks


class FiguresConfig(BaseModel):
    """Shown elsewhere too; no result follows from these keys, so they make no stage run again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tensorboard: bool = Field(
        default=False, description="event files for TensorBoard in each stage's folder"
    )
    wandb: str = Field(
        default="", description="a W&B project to log to; WANDB_MODE=offline keeps it here"
    )
    trackio: str = Field(
        default="", description="a trackio project to log to, in its database on this machine"
    )

    def check(self) -> None:
        """Refuse, before anything runs, what could not be shown.

        Raises:
            UserError: a package that is asked for is missing, or W&B has no key.
        """
        check_sinks(self.model_dump())

    def sinks(self, folder: Path, start: int, say: Callable[[str], None]) -> list[Sink]:
        """The sinks of a stage that goes on at step `start`."""
        return open_sinks(
            folder,
            start,
            say,
            tensorboard=self.tensorboard,
            wandb=self.wandb,
            trackio=self.trackio,
        )
