"""The plan beside what the system counts; benchmarks/plan_memory.py does so for more shapes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from arriero.road.plan import make_plan
from arriero.road.recipe import load_recipe

ROWS, LENGTH = 8, 256
KEYS = {
    "model.vocab_size": 16_000,
    "model.dim": 256,
    "model.num_layers": 4,
    "model.ffn_dim": 704,
    "pretrain.row_length": LENGTH,
    "pretrain.tokens_per_step": ROWS * LENGTH,
    "pretrain.micro_rows": ROWS,
}
STEPS = f"""
import torch
from arriero.data.packing import PackedBatch
from arriero.model.heads import LanguageModel
from arriero.road.recipe import load_recipe
from arriero.stages.token_loss import packed_loss_sum
from arriero.training.figures import memory_peak
from arriero.training.optimizer import adamw
from arriero.training.pages import keep_pages

keep_pages()
recipe = load_recipe("tiny", {KEYS!r})
model = LanguageModel.fresh(recipe.model, 0)
optimizer = adamw([model], recipe.pretrain.optimizer)
tokens = torch.randint(recipe.model.vocab_size, ({ROWS}, {LENGTH}))
positions = torch.arange({LENGTH}).expand_as(tokens)
everywhere, last = torch.ones_like(tokens, dtype=torch.bool), torch.zeros(0, dtype=torch.int64)
batch = PackedBatch(tokens, torch.zeros_like(tokens), positions, tokens, everywhere, last)
for _ in range(2):
    optimizer.zero_grad(set_to_none=True)
    (packed_loss_sum(model, batch, torch.device("cpu")) / batch.num_targets).backward()
    optimizer.step()
print(memory_peak(torch.device("cpu")))
"""


@pytest.mark.slow
def test_a_trainings_peak_is_what_the_plan_says() -> None:
    """At most a tenth above it; below it by what a whole stage loads and a bare loop does not."""
    done = subprocess.run([sys.executable, "-c", STEPS], capture_output=True, text=True, check=True)
    measured = int(done.stdout)
    plan = make_plan(load_recipe("tiny", KEYS), device="cpu")
    planned = plan.stages[0].parts.total + plan.device.runtime
    assert 0.75 * planned < measured < 1.1 * planned
