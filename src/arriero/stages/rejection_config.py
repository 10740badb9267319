"""The settings of rejection sampling (section 3.2.3)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from arriero.stages.served import SamplerUrl
from arriero.stages.sft import SftConfig


class RejectionConfig(BaseModel):
    """Section 3.2.3; the paper draws up to 100 samples and re-fits the temperature a version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples_per_prompt: int = Field(default=16, gt=1, description="K, samples a prompt")
    temperatures: tuple[Annotated[float, Field(ge=0)], ...] = Field(
        default=(0.8, 1.0, 1.2),
        min_length=1,
        description="tried on a few prompts; the best one is used",
    )
    fitting_prompts: int = Field(
        default=64, gt=0, description="prompts that the temperature is fitted on"
    )
    max_new_tokens: int = Field(default=512, gt=0, description="longest answer in tokens")
    max_prompts: int = Field(default=0, ge=0, description="most prompts; 0 takes all")
    sft_share: float = Field(
        default=0.3, ge=0, lt=1, description="share of demonstrations in the fine-tuning mix"
    )
    selection: Literal["newest", "all"] = Field(
        default="all",
        description="targets from samples of the newest version alone, or the best of all versions",
    )
    bag_top: int = Field(
        default=2,
        gt=0,
        description="samples of a prompt of an earlier version, the best by their old scores, that "
        "the newest reward models score again",
    )
    bag_share: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="largest share of the targets whose prompts only earlier versions had; 1 takes "
        "all",
    )
    samples_from: str = Field(
        default="",
        description="another run, or its stage of rejection sampling: its samples are learned, and "
        "none are drawn; for models smaller than the one that they were drawn from",
    )
    sampler_url: SamplerUrl = Field(
        default="",
        description="address on this machine of a vLLM server that draws the samples, such as "
        "http://127.0.0.1:8000; empty draws them with our own engine",
    )
    max_rows: int = Field(default=256, gt=0, description="sequences sampled at once")
    sft: SftConfig = Field(default_factory=SftConfig)

    @model_validator(mode="after")
    def _samples_fit(self) -> RejectionConfig:
        if self.samples_per_prompt > self.max_rows:
            raise ValueError(
                f"samples_per_prompt {self.samples_per_prompt} is more than the {self.max_rows} "
                "rows sampled at once; raise max_rows"
            )
        return self
