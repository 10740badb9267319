"""Shape of a Llama model (section 2.2, Table 1) and the four published sizes.

The feed-forward widths are the released models' own; the paper gives only the rule behind them.
Departure: keys that Llama 2 leaves at their defaults (head width, tied embeddings, biases, scaled
rotary frequencies) make room for Llama 1 and 3.x, TinyLlama, SmolLM and their like.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class ModelConfig(BaseModel):
    """Everything that fixes the shape of the network; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    vocab_size: int = Field(default=32_000, gt=2, description="number of tokens; the paper: 32,000")
    dim: int = Field(default=4096, gt=0, description="width of the residual stream; 7B: 4,096")
    num_layers: int = Field(default=32, gt=0, description="number of decoder blocks; 7B: 32")
    num_heads: int = Field(default=32, gt=0, description="query heads; 7B: 32")
    num_kv_heads: int = Field(default=32, gt=0, description="key/value heads; 8 at 34B and 70B")
    head_width: int | None = Field(
        default=None, gt=0, description="width of a head where it is not dim / num_heads; even"
    )
    ffn_dim: int = Field(default=11_008, gt=0, description="width of the SwiGLU; 7B: 11,008")
    context: int = Field(
        default=4096, gt=0, description="longest sequence in tokens; the paper: 4,096"
    )
    tie_embeddings: bool = Field(
        default=False, description="the output matrix is the embedding itself; the paper: no"
    )
    attention_bias: bool = Field(default=False, description="biases in attention; the paper: no")
    mlp_bias: bool = Field(default=False, description="biases in the SwiGLU; the paper: no")
    norm_eps: float = Field(default=1e-5, gt=0, description="epsilon of RMSNorm; 1e-5")
    rope_theta: float = Field(
        default=10_000.0, gt=0, description="base of the rotary angles; 10,000"
    )
    rope_scaling: Literal["none", "linear", "llama3"] = Field(
        default="none", description="how rotary frequencies are stretched; the paper: none"
    )
    rope_factor: float = Field(
        default=1.0, ge=1, description="by how much they are stretched; Llama 3.1: 8"
    )
    rope_low_frequency_factor: float = Field(
        default=1.0,
        gt=0,
        description="llama3: waves longer than rope_original_context over this are stretched",
    )
    rope_high_frequency_factor: float = Field(
        default=4.0,
        gt=0,
        description="llama3: waves shorter than rope_original_context over this stay",
    )
    rope_original_context: int = Field(
        default=8192, gt=0, description="llama3: context in tokens before the stretching"
    )

    @model_validator(mode="after")
    def _heads_divide(self) -> ModelConfig:
        if self.head_width is None and self.dim % (2 * self.num_heads):
            raise ValueError(f"dim {self.dim} must be an even multiple of num_heads")
        if self.head_dim % 2:
            raise ValueError(f"head_width {self.head_width} must be even")
        if self.num_heads % self.num_kv_heads:
            raise ValueError(f"num_heads {self.num_heads} must be a multiple of num_kv_heads")
        if self.rope_high_frequency_factor <= self.rope_low_frequency_factor:
            raise ValueError("rope_high_frequency_factor must exceed rope_low_frequency_factor")
        return self

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.head_width or self.dim // self.num_heads

    @property
    def query_dim(self) -> int:
        """Width of all query heads together; `dim` unless the head width says otherwise."""
        return self.num_heads * self.head_dim

    @property
    def kv_dim(self) -> int:
        """Width of all key heads together, and of all value heads."""
        return self.num_kv_heads * self.head_dim

    @property
    def num_block_parameters(self) -> int:
        """Parameters of one decoder block: attention, SwiGLU, two norms."""
        attention = 2 * self.dim * (self.query_dim + self.kv_dim)
        if self.attention_bias:
            attention += self.query_dim + 2 * self.kv_dim + self.dim
        mlp = 3 * self.dim * self.ffn_dim
        if self.mlp_bias:
            mlp += 2 * self.ffn_dim + self.dim
        return attention + mlp + 2 * self.dim

    @property
    def num_backbone_parameters(self) -> int:
        """Parameters without an output head: embedding, blocks and final norm."""
        return self.vocab_size * self.dim + self.num_layers * self.num_block_parameters + self.dim

    @property
    def num_parameters(self) -> int:
        """Parameters of the language model; an output matrix that is the embedding counts once."""
        head = 0 if self.tie_embeddings else self.vocab_size * self.dim
        return self.num_backbone_parameters + head

    def flops_per_token(self, length: int) -> float:
        """Forward and backward floating-point operations a token at a sequence `length`.

        6 per weight that multiplies, plus attention scores and values (causal: half of them).
        Looking up an embedding multiplies nothing, and the output matrix is of its size: together
        they count as the embedding of the backbone does.
        """
        weights = self.num_backbone_parameters
        return 6.0 * weights + 6.0 * self.num_layers * self.query_dim * length


LLAMA2_7B = ModelConfig()
LLAMA2_13B = ModelConfig(dim=5120, num_layers=40, num_heads=40, num_kv_heads=40, ffn_dim=13_824)
LLAMA2_34B = ModelConfig(dim=8192, num_layers=48, num_heads=64, num_kv_heads=8, ffn_dim=22_016)
LLAMA2_70B = ModelConfig(dim=8192, num_layers=80, num_heads=64, num_kv_heads=8, ffn_dim=28_672)
