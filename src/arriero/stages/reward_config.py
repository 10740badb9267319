"""Keys of stage `reward` (section 3.2.2, A.3.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from arriero.equations.ranking import MARGINS
from arriero.model.lora import LoraConfig
from arriero.records import Rating
from arriero.stages.fitting import Precision
from arriero.stages.tables import as_table
from arriero.training.optimizer import OptimizerConfig, completed_by

_OPTIMIZER = OptimizerConfig(peak=1e-5)

Margin = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class RewardConfig(BaseModel):
    """Section 3.2.2: one epoch, 512 pairs a step, 1e-5 (5e-6 at 70B), warm-up 3% and at least 5."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(default=1, gt=0, description="passes over the pairs; 1, more overfits")
    pairs_per_step: int = Field(default=512, gt=0, description="pairs of an optimizer step; 512")
    micro_pairs: int = Field(
        default=32, gt=0, description="pairs that go through the model at once"
    )
    margin: Literal["none", "small", "large"] = Field(
        default="small", description="m(rating), Table 27"
    )
    margins: Annotated[dict[Rating, Margin], BeforeValidator(as_table)] = Field(
        default_factory=dict,
        description="one's own m(rating), as RATING=NUMBER for all four ratings; none takes margin",
    )
    safety_loss_weight: float = Field(
        default=1.0,
        ge=0,
        description="weight of the safety label's cross-entropy in the safety model",
    )
    checkpoint_every: int = Field(default=50, gt=0, description="steps between checkpoints")
    precision: Precision = Field(default="bfloat16", description="type of the matrix products")
    optimizer: Annotated[OptimizerConfig, completed_by(_OPTIMIZER)] = Field(
        default=_OPTIMIZER,
        description="warm-up is 3% of the steps and at least 5 whatever warmup_steps says",
    )
    lora: LoraConfig = LoraConfig()

    @field_validator("margins")
    @classmethod
    def _names_every_rating(cls, margins: dict[Rating, float]) -> dict[Rating, float]:
        missing = [rating.value for rating in Rating if rating not in margins]
        if margins and missing:
            raise ValueError(f"no margin for {', '.join(missing)}; give each of the four ratings")
        return {rating: margins[rating] for rating in Rating} if margins else {}

    @property
    def margin_name(self) -> str:
        """`none`, `small`, `large`, or `own` for a table of one's own."""
        return "own" if self.margins else self.margin

    @property
    def margin_of(self) -> Mapping[Rating | None, float]:
        """m(rating) by rating; 0 for a pair without one."""
        return {**self.margins, None: 0.0} if self.margins else MARGINS[self.margin]
