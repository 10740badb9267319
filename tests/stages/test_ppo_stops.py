"""PPO that is stopped, or must stop: nothing is lost, and nothing learned from a broken step."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from arriero.inference.engine import Engine
from arriero.inference.generate import Sampling
from arriero.model.lora import LoraConfig
from arriero.records import Message, Prompt, Stopped, UserError
from arriero.stages import ppo, ppo_iteration, ppo_update
from arriero.stages.sampling import ChatModel
from arriero.stages.workspace import Workspace
from arriero.training.stopping import StopRequest

from .conftest import NewWorkspace, learned, metrics, results, same_weights
from .test_ppo import Stage

LORA = LoraConfig(rank=4, alpha=16.0)


@pytest.fixture
def stage(tmp_path: Path, chat_folder: Path, reward_folders: tuple[Path, Path]) -> Stage:
    return Stage(tmp_path, chat_folder, reward_folders)


class StoppedError(Exception):
    pass


def same_end(one: Workspace, other: Workspace) -> bool:
    return (
        same_weights(one.model, other.model)
        and results(one) == results(other)
        and learned(one) == learned(other)
    )


@pytest.mark.parametrize("lora", [LoraConfig(), LORA], ids=["full", "lora"])
def test_killed_at_three_points_and_run_again_is_bit_equal(
    stage: Stage, workspace: NewWorkspace, monkeypatch: pytest.MonkeyPatch, lora: LoraConfig
) -> None:
    """Both optimizers, the critic, the best policy, scores and guards are carried."""
    changes: dict[str, Any] = {"iterations": 5, "checkpoint_every": 2, "lora": lora}
    whole, killed = workspace("whole"), workspace("killed")
    stage.run(whole, **changes)
    plain = ppo.iterate
    points = [1, 3, 4]

    def kill(*arguments: Any) -> dict[str, Any]:
        if points and arguments[5] == points[0]:
            points.pop(0)
            raise StoppedError
        return plain(*arguments)

    monkeypatch.setattr(ppo, "iterate", kill)
    for _ in range(3):
        with pytest.raises(StoppedError):
            stage.run(killed, **changes)
    stage.run(killed, **changes)
    assert not points
    assert same_end(killed, whole)


def ask() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def while_it_samples(monkeypatch: pytest.MonkeyPatch, iteration: int) -> Callable[[], None]:
    """SIGTERM in the midst of an iteration's samples; gives what takes it back."""
    plain_iterate, plain_step = ppo_iteration.iterate, Engine.step
    under_way: list[int] = []

    def iterate(*arguments: Any) -> dict[str, Any]:
        under_way.append(arguments[5])
        return plain_iterate(*arguments)

    def step(self: Engine) -> Any:
        if under_way and under_way[-1] == iteration and self.drawn_tokens > 20:
            ask()
        return plain_step(self)

    monkeypatch.setattr(ppo, "iterate", iterate)
    monkeypatch.setattr(Engine, "step", step)
    return lambda: monkeypatch.setattr(Engine, "step", plain_step)


def while_it_learns(monkeypatch: pytest.MonkeyPatch, iteration: int) -> Callable[[], None]:
    """SIGTERM before the first of the three updates of an iteration; as above."""
    plain = ppo_iteration.update
    calls = [0]

    def update(*arguments: Any) -> Any:
        calls[0] += 1
        if calls[0] == 3 * iteration + 1:
            ask()
        return plain(*arguments)

    monkeypatch.setattr(ppo_iteration, "update", update)
    return lambda: monkeypatch.setattr(ppo_iteration, "update", plain)


@pytest.mark.parametrize(
    ("asks", "iteration", "saved"),
    [(while_it_samples, 0, 0), (while_it_samples, 1, 1), (while_it_learns, 1, 2)],
)
def test_asked_to_stop_it_saves_and_goes_on_bit_equal(
    stage: Stage,
    workspace: NewWorkspace,
    monkeypatch: pytest.MonkeyPatch,
    asks: Any,
    iteration: int,
    saved: int,
) -> None:
    """The samples are given up, an iteration that has begun to learn is finished."""
    changes: dict[str, Any] = {"iterations": 3, "checkpoint_every": 3}
    whole, stopped = workspace("whole"), workspace("stopped")
    stage.run(whole, **changes)
    take_back = asks(monkeypatch, iteration)
    with pytest.raises(Stopped) as raised:
        stage.run(stopped, **changes)
    assert raised.value.signal == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert [path.name for path in stopped.checkpoints.iterdir()] == [f"step-{saved:08d}"]
    take_back()
    stage.run(stopped, **changes)
    assert same_end(stopped, whole)


def test_asked_to_stop_while_the_start_is_scored_it_leaves_at_once(
    stage: Stage, workspace: NewWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, steps = Engine.step, [0]

    def step(self: Engine) -> Any:
        steps[0] += 1
        if steps[0] == 2:
            ask()
        return plain(self)

    monkeypatch.setattr(Engine, "step", step)
    space = workspace()
    with pytest.raises(Stopped):
        stage.run(space, iterations=3)
    assert steps == [2]
    assert not space.checkpoints.exists()


def test_samples_that_are_unwanted_are_not_drawn(chat_folder: Path) -> None:
    chat = ChatModel.load(chat_folder, torch.device("cpu"))
    stop = StopRequest()
    stop.asked, stop.signal = True, signal.SIGINT
    prompt = Prompt("1", (Message("user", "salt"),))
    with pytest.raises(Stopped) as raised:
        chat.answers([prompt], Sampling(max_new_tokens=4), seed=0, stop=stop)
    assert raised.value.signal == signal.SIGINT


def skipped(space: Workspace) -> list[dict[str, Any]]:
    path = space.folder / "skipped.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


class Sick:
    """The policy's loss, multiplied by a factor at some calls of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, bad: set[int], factor: float) -> None:
        self.calls, self.bad, self.factor = 0, bad, factor
        self._plain = ppo_update.policy_loss
        monkeypatch.setattr(ppo_update, "policy_loss", self)

    def __call__(self, *arguments: Any) -> Tensor:
        self.calls += 1
        loss = self._plain(*arguments)
        return loss * self.factor if self.calls in self.bad else loss


def test_what_is_not_finite_moves_nothing_and_is_named(
    stage: Stage, workspace: NewWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    Sick(monkeypatch, {2}, float("nan"))  # one mini-batch of three
    space = workspace()
    stage.run(space, iterations=2)
    assert [line["skipped"] for line in metrics(space)] == [1, 0]
    policy = ChatModel.load(space.model, torch.device("cpu")).model
    assert all(bool(parameter.isfinite().all()) for parameter in policy.parameters())
    [line] = skipped(space)
    assert (line["step"], line["mini_batch"], line["verdict"]) == (0, 1, "not finite")
    assert 2 <= len(set(line["prompts"])) <= 5
    assert all(0 <= int(prompt) < 24 for prompt in line["prompts"])


def test_a_spike_is_left_out(
    stage: Stage, workspace: NewWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    Sick(monkeypatch, {23}, 1e4)
    space = workspace()
    stage.run(space, iterations=8, held_out_every=8)
    assert [(line["step"], line["verdict"]) for line in skipped(space)] == [(7, "spike")]
    assert sum(line["skipped"] for line in metrics(space)) == 1


def test_three_in_a_row_end_it_with_the_last_good_checkpoint(
    stage: Stage, workspace: NewWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third, of two iterations: what counts is the row, not the iteration."""
    sick = Sick(monkeypatch, {6, 7, 8}, float("inf"))
    space = workspace()
    with pytest.raises(UserError, match="for 3 updates up to iteration 3; lower"):
        stage.run(space, iterations=4)
    assert [line["step"] for line in skipped(space)] == [1, 2, 2]
    newest = max(space.checkpoints.iterdir())
    assert newest.name == "step-00000002"
    # That the last one before the checkpoint was bad is not forgotten: two more are enough.
    sick.bad, sick.calls = {1, 2}, 0
    with pytest.raises(UserError, match="up to iteration 3"):
        stage.run(space, iterations=4)
    assert sick.calls == 2
    assert [line["step"] for line in skipped(space)] == [1, 2, 2]
