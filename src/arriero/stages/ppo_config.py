"""Settings of stage `ppo`, with the paper's values; what the paper does not say is named ours."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from arriero.model.lora import LoraConfig
from arriero.stages.learner import CriticSource
from arriero.stages.served import SamplerUrl
from arriero.training.optimizer import OptimizerConfig, completed_by
from arriero.training.parallel import Precision

_OPTIMIZER = OptimizerConfig(peak=1e-6, warmup_steps=0, final_share=1.0)


class PpoConfig(BaseModel):
    """Section 3.2.3: 512 samples an iteration, mini-batches of 64, one step each, clip 0.2."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    iterations: int = Field(default=400, gt=0, description="most iterations; the paper: 200 to 400")
    samples: int = Field(default=512, gt=1, description="answers an iteration; 512")
    mini_batch: int = Field(default=64, gt=0, description="answers a gradient step; 64")
    clip: float = Field(default=0.2, gt=0, description="ratio clip; 0.2")
    beta: float = Field(
        default=0.01, ge=0, description="KL weight; 0.01 (7B, 13B), 0.005 (34B, 70B)"
    )
    gamma: float = Field(default=1.0, gt=0, le=1, description="discount a token; ours")
    lam: float = Field(default=0.95, ge=0, le=1, description="lambda of GAE; ours")
    temperature: float = Field(default=1.0, gt=0, description="temperature of the rollouts")
    rollout_precision: Precision = Field(
        default="float32",
        description="type that answers are sampled in; what is learned from is float32; ours",
    )
    sampler_url: SamplerUrl = Field(
        default="",
        description="address on this machine of a vLLM server that samples the rollouts, such as "
        "http://127.0.0.1:8000; empty samples with our own engine; ours",
    )
    max_new_tokens: int = Field(default=512, gt=0, description="longest answer in tokens")
    critic_from: CriticSource = Field(
        default="helpfulness",
        description="what the critic starts from; fresh is the policy under a new head; ours",
    )
    critic_warmup: int = Field(
        default=0, ge=0, description="first iterations in which only the critic learns; ours"
    )
    held_out_prompts: int = Field(default=256, gt=0, description="prompts of the early-stop check")
    held_out_every: int = Field(default=10, gt=0, description="iterations between checks")
    patience: int = Field(default=5, gt=0, description="checks without a gain before it stops")
    checkpoint_every: int = Field(default=10, gt=0, description="iterations between checkpoints")
    optimizer: Annotated[OptimizerConfig, completed_by(_OPTIMIZER)] = Field(
        default=_OPTIMIZER, description="AdamW of the policy; the rate is constant"
    )
    critic_peak: float = Field(
        default=1e-6, gt=0, description="constant learning rate of the critic; ours"
    )
    lora: LoraConfig = LoraConfig()

    @model_validator(mode="after")
    def _one_sampler(self) -> PpoConfig:
        if self.sampler_url and self.rollout_precision != "float32":
            raise ValueError(
                "rollout_precision is that of our own engine; with sampler_url, start the server "
                "with --dtype bfloat16"
            )
        return self

    @property
    def gap_precision(self) -> Precision:
        """The type that sampler and trainer may differ by; a server's is taken to be bfloat16."""
        return "bfloat16" if self.sampler_url else self.rollout_precision
