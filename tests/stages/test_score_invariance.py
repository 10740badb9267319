"""A score is that of its sequence, whatever it is computed with and by whom."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification

from arriero.alignment.scoring import score_sequences
from arriero.data.packing import pack
from arriero.data.pairs import pack_pairs
from arriero.model.heads import ScoreModel
from arriero.model.weights import load_score_model

from .conftest import CONFIG, VOCAB

JOB = Path(__file__).parent / "jobs" / "scores.py"
COUNT = 40


@pytest.fixture(scope="module")
def folder(reward_folders: tuple[Path, Path]) -> Path:
    return reward_folders[0]


@pytest.fixture(scope="module")
def model(folder: Path) -> ScoreModel:
    return load_score_model(folder).eval()


@pytest.fixture(scope="module")
def rows() -> list[list[int]]:
    draw = random.Random(4)
    return [draw.choices(range(3, VOCAB), k=draw.randint(1, CONFIG.context)) for _ in range(COUNT)]


@pytest.fixture(scope="module")
def alone(model: ScoreModel, rows: list[list[int]]) -> Tensor:
    """One by one, by nothing but the model's forward pass."""
    with torch.no_grad():
        return torch.stack([model(torch.tensor([row]))[0, -1] for row in rows])


def close(got: Tensor, expected: Tensor) -> None:
    assert float(expected.std()) > 0.1
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)


def test_by_itself_and_in_batches(model: ScoreModel, rows: list[list[int]], alone: Tensor) -> None:
    close(torch.cat([score_sequences(model, [row]) for row in rows]), alone)
    close(score_sequences(model, rows), alone)


def test_the_order_of_the_batch_changes_no_bit(model: ScoreModel, rows: list[list[int]]) -> None:
    """The scorer sorts what it gets, so that any order is the same computation."""
    scores = score_sequences(model, rows)
    order = list(range(COUNT))
    for seed in range(3):
        random.Random(seed).shuffle(order)
        shuffled = score_sequences(model, [rows[place] for place in order])
        assert torch.equal(shuffled, scores[order])


def test_packed_and_in_pairs(model: ScoreModel, rows: list[list[int]], alone: Tensor) -> None:
    packed = pack(rows, row_length=2 * CONFIG.context)
    pairs = pack_pairs(list(zip(rows[::2], rows[1::2], strict=True)))
    with torch.no_grad():
        scores = model(packed.tokens, positions=packed.positions, segments=packed.segments)
        close(scores.flatten()[packed.last], alone)
        scores = model(
            pairs.tokens, positions=pairs.positions, segments=pairs.segments, skips=pairs.skips
        )
    close(scores.flatten()[pairs.last].T.flatten(), alone)


@pytest.mark.parametrize("side", ["right", "left"])
def test_transformers_pads(folder: Path, rows: list[list[int]], alone: Tensor, side: str) -> None:
    """From the same folder, with the pad token that it names."""
    theirs = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    pad, width = theirs.config.pad_token_id, max(map(len, rows))
    tokens = torch.full((COUNT, width), pad)
    mask = torch.zeros(COUNT, width, dtype=torch.int64)
    for number, row in enumerate(rows):
        place = slice(0, len(row)) if side == "right" else slice(width - len(row), width)
        tokens[number, place], mask[number, place] = torch.tensor(row), 1
    with torch.no_grad():
        close(theirs(tokens, attention_mask=mask).logits[:, 0], alone)


@pytest.mark.slow
def test_over_two_ranks(folder: Path, rows: list[list[int]], alone: Tensor, tmp_path: Path) -> None:
    """Each has half of the weights and scores half of the sequences."""
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    out = tmp_path / "scores.json"
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    what = map(str, (JOB, folder, tmp_path / "rows.json", out, 1))
    done = subprocess.run(
        [sys.executable, "-m", *launcher, *what],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    close(torch.tensor(json.loads(out.read_text())), alone)
