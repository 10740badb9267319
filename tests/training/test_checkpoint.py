"""Checkpoints: whole or not at all, bit-equal, and damage is seen."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from arriero.training.checkpoint import clear_checkpoints, load_checkpoint, save_checkpoint


def trained(steps: int) -> tuple[torch.nn.Linear, torch.optim.AdamW]:
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for _ in range(steps):
        step(model, optimizer)
    return model, optimizer


def step(model: torch.nn.Linear, optimizer: torch.optim.AdamW) -> None:
    optimizer.zero_grad()
    model(torch.ones(1, 3)).square().sum().backward()
    optimizer.step()


def test_going_on_from_a_checkpoint_is_bit_equal(tmp_path: Path) -> None:
    model, optimizer = trained(3)
    save_checkpoint(tmp_path, 3, {"m": model}, {"o": optimizer}, {"best": 0.5})
    fresh, fresh_optimizer = trained(1)
    state = load_checkpoint(tmp_path, {"m": fresh}, {"o": fresh_optimizer})
    assert state == {"step": 3, "milestone": False, "best": 0.5}
    for _ in range(4):
        step(model, optimizer)
        step(fresh, fresh_optimizer)
    assert torch.equal(model.weight, fresh.weight)
    assert torch.equal(model.bias, fresh.bias)


def test_nothing_to_go_on_from(tmp_path: Path) -> None:
    model, optimizer = trained(0)
    assert load_checkpoint(tmp_path / "none", {"m": model}, {"o": optimizer}) is None


@pytest.mark.parametrize("damage", ["flip", "truncate", "unlink"])
def test_a_damaged_checkpoint_is_passed_over(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model, optimizer = trained(1)
    save_checkpoint(tmp_path, 1, {"m": model}, {"o": optimizer}, {})
    older = copy.deepcopy(model.state_dict())
    step(model, optimizer)
    save_checkpoint(tmp_path, 2, {"m": model}, {"o": optimizer}, {})
    path = tmp_path / "step-00000002" / "tensors.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-5] ^= 1
    if damage == "flip":
        path.write_bytes(raw)
    elif damage == "truncate":
        path.write_bytes(raw[:50])
    else:
        path.unlink()
    fresh, fresh_optimizer = trained(0)
    state = load_checkpoint(tmp_path, {"m": fresh}, {"o": fresh_optimizer})
    assert state == {"step": 1, "milestone": False}
    assert torch.equal(fresh.weight, older["weight"])
    assert "step-00000002: damaged" in capsys.readouterr().out


def test_the_newest_two_are_kept_and_leftovers_do_no_harm(tmp_path: Path) -> None:
    model, optimizer = trained(1)
    (tmp_path / ".step-00000009.tmp").mkdir()  # what a kill leaves behind
    for number in (1, 2, 3):
        save_checkpoint(tmp_path, number, {"m": model}, {"o": optimizer}, {})
    assert sorted(path.name for path in tmp_path.glob("step-*")) == [
        "step-00000002",
        "step-00000003",
    ]
    state = load_checkpoint(tmp_path, {"m": model}, {"o": optimizer})
    assert state is not None
    assert state["step"] == 3


def test_milestones_stay_when_the_stage_is_done(tmp_path: Path) -> None:
    model, optimizer = trained(1)
    for number in range(1, 8):
        save_checkpoint(tmp_path, number, {"m": model}, {"o": optimizer}, {}, keep_every=3)
    clear_checkpoints(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000003", "step-00000006"]
    save_checkpoint(tmp_path / "other", 1, {"m": model}, {"o": optimizer}, {})
    clear_checkpoints(tmp_path / "other")
    assert not (tmp_path / "other").exists()
    clear_checkpoints(tmp_path / "other")
