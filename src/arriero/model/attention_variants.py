"""MHA, GQA and MQA of one size (A.2.1), and the memory of their key/value caches.

Fewer key/value heads leave parameters over; they go into the feed-forward network, so that the
variants differ in where their parameters stand and not in how many there are.

The paper widens by 1.33 for MQA and 1.3 for GQA, at a size that it calls 30B and does not describe.
Its nearest shape is the 34B of Table 1 (`PAPER_MHA`): 48 layers, width 8,192, 64 heads, width
22,016 of the feed-forward network. There equal counts come out at 1.244 and 1.217, lower by 0.086
and 0.083; the paper's own factors would add 5.7% and 5.5% to the whole model. They are those of a
feed-forward network twice as wide as the residual stream: there equal counts give 1.328 and 1.292.
"""

from __future__ import annotations

from arriero.model.config import LLAMA2_34B, ModelConfig
from arriero.records import UserError

GQA_HEADS = 8
GIB = 2**30

PAPER_MHA = LLAMA2_34B.model_copy(update={"num_kv_heads": LLAMA2_34B.num_heads})
"""Stands for the paper's 30B: the 34B with as many key/value heads as query heads."""


def attention_variants(base: ModelConfig, multiple: int = 1) -> dict[str, ModelConfig]:
    """The shapes `mha`, `gqa-8` and `mqa`, with as nearly the same number of parameters as can be.

    Args:
        base: its query heads and feed-forward width are those of MHA; its key/value heads don't
            count.
        multiple: the feed-forward width grows in steps of so many.

    Raises:
        UserError: 8 key/value heads do not divide the query heads, or are all of them.

    Worked example: width 256, 16 heads, feed-forward width 704: MQA lacks 2 * 256 * (256 - 16)
    = 122,880 parameters a layer, a step of the width has 3 * 256 = 768, so it gets 160 more: 864.
    """
    if base.num_heads <= GQA_HEADS or base.num_heads % GQA_HEADS:
        raise UserError(
            f"GQA-8 shares each of 8 key/value heads among several query heads, which "
            f"{base.num_heads} heads do not allow; say --ablation.num_heads 16, or another "
            "multiple of 8"
        )
    return {
        "mha": widened(base, base.num_heads, multiple),
        "gqa-8": widened(base, GQA_HEADS, multiple),
        "mqa": widened(base, 1, multiple),
    }


def widened(base: ModelConfig, num_kv_heads: int, multiple: int = 1) -> ModelConfig:
    """`base` with other key/value heads and the feed-forward width that makes up for it.

    The count is compared with that of `base` as MHA; it differs by at most half a step of the
    width.
    """
    full = base.model_copy(update={"num_kv_heads": base.num_heads})
    fewer = base.model_copy(update={"num_kv_heads": num_kv_heads})
    wider = fewer.model_copy(update={"ffn_dim": fewer.ffn_dim + multiple})
    missing = full.num_block_parameters - fewer.num_block_parameters
    steps = round(missing / (wider.num_block_parameters - fewer.num_block_parameters))
    shape = fewer.model_dump() | {"ffn_dim": base.ffn_dim + steps * multiple}
    return ModelConfig.model_validate(shape)


def cache_bytes(
    config: ModelConfig, num_rows: int, num_slots: int, bytes_per_value: int = 2
) -> int:
    """Bytes of the keys and values of `num_rows` sequences of `num_slots` tokens.

    Worked example: 7B, one sequence of 4,096 tokens in float16:
    2 * 32 layers * 4,096 wide * 4,096 tokens * 2 bytes = 2 GiB.
    """
    return 2 * config.num_layers * config.kv_dim * num_rows * num_slots * bytes_per_value


def fits(
    config: ModelConfig, num_rows: int, num_slots: int, budget: float, bytes_per_value: int = 2
) -> bool:
    """Whether the weights and the cache stay within a budget of bytes."""
    weights = config.num_parameters * bytes_per_value
    return weights + cache_bytes(config, num_rows, num_slots, bytes_per_value) <= budget


def largest_batch(
    config: ModelConfig, num_slots: int, budget: float, bytes_per_value: int = 2
) -> int:
    """The largest power of two of sequences that fits; 0 if not even one does."""
    batch = 0
    while fits(config, max(1, 2 * batch), num_slots, budget, bytes_per_value):
        batch = max(1, 2 * batch)
    return batch
