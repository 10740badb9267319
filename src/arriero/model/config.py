"""Shape of a Llama 2 model (section 2.2, Table 1) and the four published sizes.

The feed-forward widths are the released models' own; the paper gives only the rule behind them.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator


class ModelConfig(BaseModel):
    """Everything that fixes the shape of the network; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    vocab_size: int = Field(default=32_000, gt=2, description="number of tokens; the paper: 32,000")
    dim: int = Field(default=4096, gt=0, description="width of the residual stream; 7B: 4,096")
    num_layers: int = Field(default=32, gt=0, description="number of decoder blocks; 7B: 32")
    num_heads: int = Field(default=32, gt=0, description="query heads; 7B: 32")
    num_kv_heads: int = Field(default=32, gt=0, description="key/value heads; 8 at 34B and 70B")
    ffn_dim: int = Field(default=11_008, gt=0, description="width of the SwiGLU; 7B: 11,008")
    context: int = Field(
        default=4096, gt=0, description="longest sequence in tokens; the paper: 4,096"
    )
    rope_theta: float = Field(
        default=10_000.0, gt=0, description="base of the rotary angles; 10,000"
    )
    norm_eps: float = Field(default=1e-5, gt=0, description="epsilon of RMSNorm; 1e-5")

    @model_validator(mode="after")
    def _heads_divide(self) -> ModelConfig:
        if self.dim % self.num_heads or self.head_dim % 2:
            raise ValueError(f"dim {self.dim} must be an even multiple of num_heads")
        if self.num_heads % self.num_kv_heads:
            raise ValueError(f"num_heads {self.num_heads} must be a multiple of num_kv_heads")
        return self

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.dim // self.num_heads

    @property
    def num_backbone_parameters(self) -> int:
        """Parameters without an output head: embedding, blocks and final norm."""
        kv_dim = self.num_kv_heads * self.head_dim
        attention = 2 * self.dim * self.dim + 2 * self.dim * kv_dim
        block = attention + 3 * self.dim * self.ffn_dim + 2 * self.dim
        return self.vocab_size * self.dim + self.num_layers * block + self.dim

    @property
    def num_parameters(self) -> int:
        """Parameters of the language model, its untied head included."""
        return self.num_backbone_parameters + self.vocab_size * self.dim

    def flops_per_token(self, length: int) -> float:
        """Forward and backward floating-point operations a token at a sequence `length`.

        6 per weight that multiplies, plus attention scores and values (causal: half of them).
        """
        weights = self.num_parameters - self.vocab_size * self.dim
        return 6.0 * weights + 6.0 * self.num_layers * self.dim * length


LLAMA2_7B = ModelConfig()
LLAMA2_13B = ModelConfig(dim=5120, num_layers=40, num_heads=40, num_kv_heads=40, ffn_dim=13_824)
LLAMA2_34B = ModelConfig(dim=8192, num_layers=48, num_heads=64, num_kv_heads=8, ffn_dim=22_016)
LLAMA2_70B = ModelConfig(dim=8192, num_layers=80, num_heads=64, num_kv_heads=8, ffn_dim=28_672)
