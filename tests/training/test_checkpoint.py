"""Checkpoints: whole or not at all, bit-equal, and damage is seen."""

from __future__ import annotations

import resource
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from arriero.records import UserError
from arriero.training.checkpoint import (
    _DISK,
    clear_checkpoints,
    load_checkpoint,
    write_checkpoint,
)


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
    write_checkpoint(tmp_path, 3, {"m": model}, {"o": optimizer}, {"best": 0.5}).wait()
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


def two_checkpoints(folder: Path) -> torch.Tensor:
    """Of steps 1 and 2; returns a weight of the first."""
    model, optimizer = trained(1)
    write_checkpoint(folder, 1, {"m": model}, {"o": optimizer}, {}).wait()
    older = model.weight.detach().clone()
    step(model, optimizer)
    write_checkpoint(folder, 2, {"m": model}, {"o": optimizer}, {}).wait()
    return older


def loaded(folder: Path) -> tuple[int | None, torch.Tensor]:
    """The step that a new process would go on from, and the weight it would have."""
    model, optimizer = trained(0)
    state = load_checkpoint(folder, {"m": model}, {"o": optimizer})
    return None if state is None else state["step"], model.weight.detach()


FILES = ("rank-00000.safetensors", "state.json", "manifest.json")


@pytest.mark.parametrize("name", FILES)
def test_flipped_bytes_are_seen(tmp_path: Path, name: str) -> None:
    older = two_checkpoints(tmp_path)
    path = tmp_path / "step-00000002" / name
    whole = path.read_bytes()
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        number, weight = loaded(tmp_path)
        assert number == 1, (place, whole[place])
        assert torch.equal(weight, older)
    path.write_bytes(whole)
    assert loaded(tmp_path)[0] == 2


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_or_missing_file_is_seen(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    two_checkpoints(tmp_path)
    path = tmp_path / "step-00000002" / name
    whole = path.read_bytes()
    for length in range(0, len(whole), 5):
        path.write_bytes(whole[:length])
        assert loaded(tmp_path)[0] == 1
    path.unlink()
    assert loaded(tmp_path)[0] == 1
    said = capsys.readouterr().out
    assert "step-00000002: damaged, going on from the checkpoint before it" in said
    (tmp_path / "step-00000001" / name).unlink()
    assert loaded(tmp_path)[0] is None
    assert "no whole checkpoint, starting anew" in capsys.readouterr().out


def test_a_damaged_checkpoint_goes_when_the_next_is_written(tmp_path: Path) -> None:
    two_checkpoints(tmp_path)
    model, optimizer = trained(1)
    write_checkpoint(tmp_path, 9, {"m": model}, {"o": optimizer}, {}).wait()
    (tmp_path / "step-00000009" / "state.json").unlink()
    # Gone on from step 2, and stopped long before 9.
    write_checkpoint(tmp_path, 3, {"m": model}, {"o": optimizer}, {}).wait()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000002", "step-00000003"]


def test_what_cannot_be_written_leaves_the_checkpoints_before_as_they_were(tmp_path: Path) -> None:
    two_checkpoints(tmp_path)
    model, optimizer = trained(3)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, before[1]))
    try:
        with pytest.raises(
            UserError, match=r"step-00000003 was not written \(.*File too large.*make room"
        ):
            write_checkpoint(tmp_path, 3, {"m": model}, {"o": optimizer}, {}).wait()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000001", "step-00000002"]
    assert loaded(tmp_path)[0] == 2


def test_it_is_whole_before_the_disk_has_it(tmp_path: Path) -> None:
    model, optimizer = trained(1)
    with slow_disk() as goes_on:
        flush = write_checkpoint(tmp_path, 1, {"m": model}, {"o": optimizer}, {})
        assert loaded(tmp_path)[0] == 1
        waiting = threading.Thread(target=flush.wait)
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
        goes_on.set()
        waiting.join()
    assert loaded(tmp_path)[0] == 1


def test_what_the_disk_does_not_take_is_said_by_the_next(tmp_path: Path) -> None:
    two_checkpoints(tmp_path)
    model, optimizer = trained(3)
    with slow_disk() as goes_on:
        flush = write_checkpoint(tmp_path, 3, {"m": model}, {"o": optimizer}, {})
        shutil.rmtree(tmp_path / "step-00000003")
        goes_on.set()
        with pytest.raises(UserError, match=r"step-00000003 was not written \(.*No such file"):
            write_checkpoint(tmp_path, 4, {"m": model}, {"o": optimizer}, {}, after=flush)
    assert loaded(tmp_path)[0] == 2


def test_a_checkpoint_of_another_shape_or_model_is_refused(tmp_path: Path) -> None:
    two_checkpoints(tmp_path)
    wider = torch.nn.Linear(4, 2)
    before = wider.bias.detach().clone()
    with pytest.raises(UserError, match=r"step-00000002 is of a model of another shape .*weight"):
        load_checkpoint(tmp_path, {"m": wider}, {"o": torch.optim.AdamW(wider.parameters())})
    assert torch.equal(wider.bias, before)
    deeper = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 2))
    with pytest.raises(UserError, match=r"step-00000002 is of another model \(module/m/0"):
        load_checkpoint(tmp_path, {"m": deeper}, {"o": torch.optim.AdamW(deeper.parameters())})


@contextmanager
def slow_disk() -> Iterator[threading.Event]:
    """Nothing comes to the disk until the event is set."""
    event = threading.Event()
    _DISK.submit(event.wait)
    try:
        yield event
    finally:
        event.set()


def test_the_newest_two_are_kept_and_leftovers_do_no_harm(tmp_path: Path) -> None:
    model, optimizer = trained(1)
    (tmp_path / ".step-00000009.tmp").mkdir()  # what a kill leaves behind
    for number in (1, 2, 3):
        write_checkpoint(tmp_path, number, {"m": model}, {"o": optimizer}, {}).wait()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000002", "step-00000003"]
    state = load_checkpoint(tmp_path, {"m": model}, {"o": optimizer})
    assert state is not None
    assert state["step"] == 3


def test_milestones_stay_when_the_stage_is_done(tmp_path: Path) -> None:
    model, optimizer = trained(1)
    for number in range(1, 8):
        write_checkpoint(tmp_path, number, {"m": model}, {"o": optimizer}, {}, keep_every=3).wait()
    clear_checkpoints(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000003", "step-00000006"]
    write_checkpoint(tmp_path / "other", 1, {"m": model}, {"o": optimizer}, {}).wait()
    clear_checkpoints(tmp_path / "other")
    assert not (tmp_path / "other").exists()
    clear_checkpoints(tmp_path / "other")
