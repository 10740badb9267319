from __future__ import annotations

import pytest

from arriero.model.config import LLAMA2_7B, LLAMA2_70B, ModelConfig
from arriero.records import UserError
from arriero.road.plan.layout import (
    Layout,
    check_adapters,
    check_batch,
    check_batches,
    check_layout,
    check_tensor,
    micro_batches,
)
from arriero.road.recipe import load_recipe


def test_what_divides_is_let_through() -> None:
    check_layout(LLAMA2_7B, 8, 8)
    check_layout(LLAMA2_70B, 512, 8)
    assert Layout(512, 8).data == 64


def test_devices_do_not_divide_by_the_groups() -> None:
    with pytest.raises(UserError, match=r"6 devices do not divide into groups of 4; .*--tensor 2"):
        check_layout(LLAMA2_7B, 6, 4)


@pytest.mark.parametrize(
    ("model", "tensor", "line"),
    [
        (LLAMA2_70B, 16, "model.num_kv_heads is 8, .* 16 .*--tensor 8 can"),
        (LLAMA2_7B, 3, "model.num_heads is 32, .* 3 .*--tensor 1 can"),
        (ModelConfig(dim=64, num_heads=4, num_kv_heads=4, ffn_dim=90), 4, "model.ffn_dim is 90"),
    ],
)
def test_what_tensor_parallel_ranks_cannot_share(
    model: ModelConfig, tensor: int, line: str
) -> None:
    with pytest.raises(UserError, match=line):
        check_layout(model, tensor, tensor)


def test_a_run_is_asked_the_same_with_its_own_key() -> None:
    check_tensor(load_recipe("tiny", {"parallel.tensor": 4}), {"pretrain"})
    three = load_recipe("tiny", {"parallel.tensor": 3})
    with pytest.raises(UserError, match=r"num_heads is 4, .* --parallel.tensor 1 can$"):
        check_tensor(three, {"pretrain", "sft"})
    check_tensor(three, set())  # nothing is left to do on ranks


@pytest.mark.parametrize(("devices", "tensor"), [(0, 1), (-8, 1), (8, 0)])
def test_no_devices(devices: int, tensor: int) -> None:
    with pytest.raises(UserError, match="name 1 or more"):
        check_layout(LLAMA2_7B, devices, tensor)


def test_a_batch_that_does_not_divide() -> None:
    """1,024 rows of 4,096 tokens, which 6 ranks cannot share; 4 can, and so could 1,020 rows."""
    recipe = load_recipe("llama2-7b", {"pretrain.micro_rows": 4})
    # However many rows may go through a model at once.
    for devices in (1, 256, 512, 1024):
        check_batch(recipe, Layout(devices))
    line = r"tokens_per_step is 4,194,304, 1,024 rows, which 6 data-parallel ranks .* evenly; name "
    with pytest.raises(UserError, match=rf"{line}--pretrain.tokens_per_step 4177920, or --devices"):
        check_batch(recipe, Layout(6))
    with pytest.raises(UserError, match=r"--devices 1024$"):
        check_batch(recipe, Layout(2048))
    # With tensor parallelism half as many ranks share the rows.
    check_batch(recipe, Layout(2048, tensor=2))


def test_every_batch_that_ranks_share_is_checked() -> None:
    recipe = load_recipe("llama2-7b")
    check_batches(recipe, {"pretrain", "sft", "reward", "rejection"}, 64)
    check_batches(recipe, {"pretrain", "reward"}, 512)
    line = r"^sft.rows_per_step is 64, which 512 .* name --sft.rows_per_step 512, or .* 64 of them$"
    with pytest.raises(UserError, match=line):
        check_batches(recipe, {"sft"}, 512)
    for key, value in (
        ("pretrain.tokens_per_step", 5 * 4096),
        ("sft.rows_per_step", 9),
        ("sft.replay_rows", 3),
        ("reward.pairs_per_step", 7),
        ("rejection.sft.rows_per_step", 9),
        ("rejection.sft.replay_rows", 1),
    ):
        changed = load_recipe("llama2-7b", {key: value})
        verbs = {"pretrain", "sft", "reward", "rejection"}
        check_batches(changed, verbs, 1)
        check_batches(changed, verbs - {key.partition(".")[0]}, 2)
        with pytest.raises(UserError, match=f"^{key} is .* 2 data-parallel ranks"):
            check_batches(changed, verbs, 2)


def test_what_is_said_to_divide_does() -> None:
    for rows in (1, 3, 8, 10, 64):
        for ranks in (2, 3, 7, 16, 100):
            recipe = load_recipe("llama2-7b", {"sft.rows_per_step": rows})
            if rows % ranks:
                with pytest.raises(UserError) as caught:
                    check_batches(recipe, {"sft"}, ranks)
                words = str(caught.value).split()
                named = int(words[words.index("--sft.rows_per_step") + 1].strip(","))
                mended = load_recipe("llama2-7b", {"sft.rows_per_step": named})
                check_batches(mended, {"sft"}, ranks)
                check_batches(recipe, {"sft"}, int(words[-3]))


@pytest.mark.parametrize("key", ["sft", "reward", "rejection.sft", "ppo"])
def test_adapters_are_not_cut_up(key: str) -> None:
    keys = {f"{key}.lora.rank": 4, "parallel.tensor": 2}
    recipe = load_recipe("llama2-7b", keys)
    verb = key.partition(".")[0]
    check_adapters(recipe, {"sft", "reward", "rejection", "ppo"} - {verb})
    line = rf"\({key}.lora.rank 4\) .* parallel.tensor 2; say --parallel.tensor 1, or --{key}"
    with pytest.raises(UserError, match=line):
        check_adapters(recipe, {verb})
    check_adapters(load_recipe("llama2-7b", {f"{key}.lora.rank": 4}), {verb})


def test_micro_batches_of_a_rank_round_up() -> None:
    assert [micro_batches(rows, 4, 1) for rows in (1, 4, 5, 8)] == [1, 1, 2, 2]
    assert [micro_batches(rows, 4, 2) for rows in (2, 8, 10, 16)] == [1, 1, 2, 2]
