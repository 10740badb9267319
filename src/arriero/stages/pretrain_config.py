"""What a run says of pretraining (section 2.2)."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from arriero.training.optimizer import OptimizerConfig
from arriero.training.parallel import Precision


class PretrainConfig(BaseModel):
    """Section 2.2; the defaults are those of the paper's 7B model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_tokens: int = Field(default=2_000_000_000_000, ge=0, description="tokens to train on; 2T")
    tokens_per_step: int = Field(default=4_194_304, gt=0, description="global batch in tokens; 4M")
    row_length: int = Field(default=4096, gt=0, description="tokens a row; 4,096")
    micro_rows: int = Field(default=4, gt=0, description="rows that go through the model at once")
    valid_share: float = Field(
        default=0.001, gt=0, lt=0.5, description="rows held out for the loss curve"
    )
    max_valid_rows: int = Field(
        default=64, gt=0, description="at most so many rows held out, or one of each source"
    )
    valid_every: int = Field(default=500, gt=0, description="steps between held-out losses")
    checkpoint_every: int = Field(default=1000, gt=0, description="steps between checkpoints")
    keep_every: int = Field(
        default=0, ge=0, description="checkpoints of steps that it divides stay; 0: the newest two"
    )
    precision: Precision = Field(default="bfloat16", description="type of the matrix products")
    optimizer: OptimizerConfig = Field(default_factory=OptimizerConfig)

    @model_validator(mode="after")
    def _steps_hold_whole_rows(self) -> Self:
        if self.tokens_per_step % self.row_length:
            rows = max(1, self.tokens_per_step // self.row_length)
            raise ValueError(
                f"tokens_per_step {self.tokens_per_step} is no multiple of row_length "
                f"{self.row_length}; name {rows * self.row_length} or another one"
            )
        return self

    @model_validator(mode="after")
    def _milestones_are_checkpoints(self) -> Self:
        if self.keep_every % self.checkpoint_every:
            raise ValueError(
                f"keep_every {self.keep_every} is no multiple of checkpoint_every "
                f"{self.checkpoint_every}"
            )
        return self

    @property
    def rows_per_step(self) -> int:
        """Rows of one optimizer step."""
        return self.tokens_per_step // self.row_length

    @property
    def num_steps(self) -> int:
        """Optimizer steps of the whole run; none where there are no tokens."""
        return self.num_tokens and max(1, self.num_tokens // (self.rows_per_step * self.row_length))
