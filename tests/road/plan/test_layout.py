from __future__ import annotations

import pytest

from arriero.model.config import LLAMA2_7B, LLAMA2_70B, ModelConfig
from arriero.records import UserError
from arriero.road.plan.layout import Layout, check_batch, check_layout, micro_batches, most_ranks
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


@pytest.mark.parametrize(("devices", "tensor"), [(0, 1), (-8, 1), (8, 0)])
def test_no_devices(devices: int, tensor: int) -> None:
    with pytest.raises(UserError, match="name 1 or more"):
        check_layout(LLAMA2_7B, devices, tensor)


def test_a_batch_that_does_not_divide() -> None:
    """1,024 rows in micro-batches of 4 are 256, which 6 ranks cannot share, nor can 1,024 rows."""
    recipe = load_recipe("llama2-7b", {"pretrain.micro_rows": 4})
    check_batch(recipe, Layout(256))
    with pytest.raises(UserError, match=r"256 micro-batches .* 6 ranks .*name --devices 4$"):
        check_batch(recipe, Layout(6))


def test_a_batch_that_smaller_micro_batches_divide() -> None:
    recipe = load_recipe("llama2-7b", {"pretrain.micro_rows": 4})
    with pytest.raises(UserError, match=r"--pretrain.micro_rows 2 or --devices 256"):
        check_batch(recipe, Layout(512))
    mended = load_recipe("llama2-7b", {"pretrain.micro_rows": 2})
    check_batch(mended, Layout(512))
    # With tensor parallelism half as many ranks share the rows.
    check_batch(recipe, Layout(512, tensor=2))


def test_most_ranks_by_trying_all() -> None:
    for batches in range(1, 40):
        for ranks in range(1, 40):
            even = [n for n in range(1, ranks + 1) if batches % n == 0]
            assert most_ranks(batches, ranks) == max(even)


def test_micro_batches_round_up() -> None:
    assert [micro_batches(rows, 4) for rows in (1, 4, 5, 8)] == [1, 1, 2, 2]
