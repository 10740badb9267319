"""PPO: what is whitened, clipped, frozen and kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from arriero.data.writing import write_prompts
from arriero.inference import batches
from arriero.inference.generate import Sampling
from arriero.model.lora import LoraConfig
from arriero.model.weights import load_language_model, load_score_model
from arriero.records import Message, Prompt
from arriero.stages import ppo, ppo_update
from arriero.stages.learner import Learner
from arriero.stages.ppo import PpoConfig
from arriero.stages.ppo_alarms import Check
from arriero.stages.ppo_held_out import HeldOut
from arriero.stages.sampling import ChatModel
from arriero.stages.workspace import ALONE, Workspace
from arriero.training.optimizer import OptimizerConfig

from .conftest import WORDS, NewWorkspace, learned, metrics, results, same_weights

SMALL = PpoConfig(
    iterations=3,
    samples=12,
    mini_batch=5,
    beta=0.05,
    max_new_tokens=8,
    held_out_every=1,
    checkpoint_every=1,
    critic_peak=1e-3,
    optimizer=OptimizerConfig(peak=3e-3, warmup_steps=0, final_share=1.0),
)


class Stage:
    """The stage with its files, ready to run."""

    def __init__(self, folder: Path, chat: Path, rewards: tuple[Path, Path]) -> None:
        self.chat, self.rewards = chat, rewards
        self.general: Path | None = None
        self.prompts, self.held_out = folder / "prompts.jsonl", folder / "held-out.jsonl"
        prompts = [
            Prompt(
                str(n),
                (Message("user", f"{WORDS[n % 14]} {n}"),),
                "safety" if n % 2 else "helpfulness",
            )
            for n in range(30)
        ]
        write_prompts(self.prompts, prompts[:24])
        write_prompts(self.held_out, prompts[24:])

    def run(self, space: Workspace, **changes: Any) -> None:
        ppo.run(
            SMALL.model_copy(update=changes),
            start=self.chat,
            rewards=self.rewards,
            prompts=[self.prompts],
            held_out=[self.held_out],
            general=self.general,
            workspace=space,
        )


@pytest.fixture
def stage(tmp_path: Path, chat_folder: Path, reward_folders: tuple[Path, Path]) -> Stage:
    return Stage(tmp_path, chat_folder, reward_folders)


def weights(model: torch.nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten().clone() for parameter in model.parameters()])


def test_it_starts_on_its_own_policy_and_moves(stage: Stage, workspace: NewWorkspace) -> None:
    space = workspace()
    stage.run(space)
    lines = metrics(space)
    assert [line["iteration"] for line in lines] == [1, 2, 3]
    assert lines[0]["kl"] == 0.0
    assert all(line["ratio_first"] == 1.0 for line in lines)
    assert all(line["sampler_gap"] < 1e-4 for line in lines)
    assert all("held_out" in line for line in lines)
    assert lines[-1]["kl"] != 0.0


def test_the_reference_never_changes(
    stage: Stage, workspace: NewWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = weights(load_language_model(stage.chat))
    moved: list[bool] = []
    plain = ppo.iterate

    def watched(
        config: PpoConfig, learner: Any, reference: ChatModel, *rest: Any
    ) -> dict[str, Any]:
        figures = plain(config, learner, reference, *rest)
        assert torch.equal(weights(reference.model), start)
        assert not any(parameter.requires_grad for parameter in reference.model.parameters())
        moved.append(not torch.equal(weights(learner.policy.model), start))
        return figures

    monkeypatch.setattr(ppo, "iterate", watched)
    stage.run(workspace())
    assert moved == [True] * 3


def test_scores_are_whitened_over_the_whole_batch_before_the_kl_term(
    stage: Stage, workspace: NewWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three mini-batches of one iteration: mean 0 and variance 1 together, not one by one."""
    given: list[Tensor] = []
    plain = ppo_update.penalized_rewards

    def watched(score: Tensor, *rest: Any) -> Tensor:
        given.append(score.clone())
        return plain(score, *rest)

    monkeypatch.setattr(ppo_update, "penalized_rewards", watched)
    # A KL term this strong would show in statistics taken after it.
    stage.run(workspace(), iterations=2, beta=50.0)
    for scores in (given[:3], given[3:]):
        assert sorted(len(part) for part in scores) == [2, 5, 5]
        together = torch.cat(scores)
        assert float(together.mean()) == pytest.approx(0.0, abs=1e-5)
        assert float(together.square().mean()) == pytest.approx(1.0, abs=1e-4)
        assert all(abs(float(part.mean())) > 1e-3 for part in scores)


def test_advantages_are_whitened_over_all_answer_tokens(
    stage: Stage, workspace: NewWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Tensor] = []
    plain = ppo_update.policy_loss

    def watched(new: Tensor, old: Tensor, advantages: Tensor, mask: Tensor, clip: float) -> Tensor:
        assert bool((advantages[~mask] == 0).all())
        given.append(advantages[mask].clone())
        return plain(new, old, advantages, mask, clip)

    monkeypatch.setattr(ppo_update, "policy_loss", watched)
    stage.run(workspace(), iterations=1)
    together = torch.cat(given)
    assert len(given) == 3
    assert float(together.mean()) == pytest.approx(0.0, abs=1e-5)
    assert float(together.square().mean()) == pytest.approx(1.0, abs=1e-4)


def test_rollouts_leave_nothing_out_of_the_distribution(
    stage: Stage, workspace: NewWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With top-p or top-k both sides' log-probabilities would be those of another policy."""
    used: list[Sampling] = []
    plain = ChatModel.answers

    def watched(self: ChatModel, prompts: Sequence[Prompt], sampling: Sampling, **more: Any) -> Any:
        used.append(sampling)
        return plain(self, prompts, sampling, **more)

    monkeypatch.setattr(ChatModel, "answers", watched)
    stage.run(workspace(), iterations=2, temperature=0.8)
    # Two rollouts; the start and two checks, whose first answer is said; the examples.
    assert len(used) == 6
    for sampling in used:
        assert (sampling.top_p, sampling.top_k, sampling.temperature) == (1.0, 0, 0.8)


def test_gradients_are_really_clipped(
    stage: Stage, workspace: NewWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    norms: list[float] = []
    plain = torch.optim.AdamW.step

    def watched(self: torch.optim.AdamW, *arguments: Any) -> Any:
        gradients = [p.grad for group in self.param_groups for p in group["params"]]
        squares = [g.square().sum() for g in gradients if g is not None]
        norms.append(float(torch.stack(squares).sum().sqrt()))
        return plain(self, *arguments)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    space = workspace()
    clipped = SMALL.optimizer.model_copy(update={"clip": 1e-3})
    stage.run(space, iterations=1, optimizer=clipped)
    assert len(norms) == 6  # three mini-batches, policy and critic
    assert max(norms) <= 1e-3 * 1.001
    assert metrics(space)[0]["grad_norm"] > 1e-2  # what it was before


def test_the_critic_may_learn_alone_at_first(
    stage: Stage, workspace: NewWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = weights(load_language_model(stage.chat))
    moved: list[tuple[bool, bool]] = []
    plain = ppo.iterate

    def watched(config: PpoConfig, learner: Any, *rest: Any) -> dict[str, Any]:
        critic = weights(learner.critic)
        figures = plain(config, learner, *rest)
        moved.append(
            (
                not torch.equal(weights(learner.policy.model), start),
                not torch.equal(weights(learner.critic), critic),
            )
        )
        return figures

    monkeypatch.setattr(ppo, "iterate", watched)
    stage.run(workspace(), critic_warmup=2)
    assert moved == [(False, True), (False, True), (True, True)]


def scripted(monkeypatch: pytest.MonkeyPatch, scores: list[float]) -> list[Tensor]:
    """Held-out scores as given; returns the policy's weights at each check."""
    seen: list[Tensor] = []

    def check(self: Any, config: PpoConfig, learner: Learner, *rest: Any) -> Check:
        seen.append(weights(learner.policy.model))
        return Check([scores[len(seen) - 1]], [])

    monkeypatch.setattr(HeldOut, "check", check)
    return seen


def test_early_stop_keeps_the_best_policy(
    stage: Stage, workspace: NewWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = scripted(monkeypatch, [0.0, 1.0, 3.0, 2.0, 2.9, 99.0])
    space = workspace()
    stage.run(space, iterations=8, patience=2)
    found = results(space)
    assert found["stopped_early"] is True
    assert (found["iterations"], found["best_iteration"]) == (4, 2)
    assert (found["held_out_start"], found["held_out_best"]) == (0.0, 3.0)
    kept = weights(load_language_model(space.model))
    assert torch.equal(kept, seen[2])
    assert not torch.equal(kept, seen[4])


def test_a_policy_that_only_gets_worse_is_the_start(
    stage: Stage, workspace: NewWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, [5.0, 4.0, 3.0, 2.0])
    space = workspace()
    stage.run(space)
    assert same_weights(space.model, stage.chat)
    assert results(space)["best_iteration"] == 0


class StoppedError(Exception):
    pass


def test_a_mini_batch_in_parts_takes_the_same_step(
    stage: Stage, workspace: NewWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = workspace("whole")
    stage.run(whole, iterations=2)
    monkeypatch.setattr(batches, "_TOKENS_AT_ONCE", {"cpu": 30})
    [(_, divided)] = ppo_update.divided([12] * 5, 5, 0, torch.device("cpu"), ALONE)
    assert len(divided) == 3
    parts = workspace("parts")
    stage.run(parts, iterations=2)
    for one, other in zip(learned(whole), learned(parts), strict=True):
        assert one == pytest.approx(other, rel=1e-3, abs=1e-5)
    assert metrics(parts)[-1]["kl"] > 0  # of the second iteration: the policy has moved


@pytest.mark.parametrize("source", ["helpfulness", "safety", "fresh"])
def test_what_the_critic_starts_from(
    stage: Stage, workspace: NewWorkspace, monkeypatch: pytest.MonkeyPatch, source: Any
) -> None:
    seen: list[Tensor] = []

    def watched(config: PpoConfig, learner: Any, *rest: Any) -> dict[str, Any]:
        seen.append(weights(learner.critic.model))
        raise StoppedError

    monkeypatch.setattr(ppo, "iterate", watched)
    with pytest.raises(StoppedError):
        stage.run(workspace(), critic_from=source)
    folder = {"helpfulness": stage.rewards[0], "safety": stage.rewards[1]}.get(source, stage.chat)
    decoder = load_decoder(folder)
    assert torch.equal(seen[0], decoder)


def load_decoder(folder: Path) -> Tensor:
    if (folder / "generation_config.json").exists():
        return weights(load_language_model(folder).model)
    return weights(load_score_model(folder).model)


LORA = LoraConfig(rank=4, alpha=16.0)


@pytest.mark.parametrize("source", ["helpfulness", "fresh"])
def test_adapters_on_frozen_models(
    stage: Stage, workspace: NewWorkspace, monkeypatch: pytest.MonkeyPatch, source: Any
) -> None:
    """They start on the reference, sample as they train, and leave what they stand on alone."""
    plain = ppo.iterate
    start, judge = load_language_model(stage.chat), load_score_model(stage.rewards[0])

    def watched(
        config: PpoConfig, learner: Any, reference: ChatModel, judges: Any, *rest: Any
    ) -> dict[str, Any]:
        figures = plain(config, learner, reference, judges, *rest)
        assert torch.equal(weights(reference.model), weights(start))
        assert torch.equal(weights(judges.helpfulness), weights(judge))
        return figures

    monkeypatch.setattr(ppo, "iterate", watched)
    space = workspace()
    stage.run(space, lora=LORA, critic_from=source)
    lines = metrics(space)
    assert lines[0]["kl"] == 0.0
    assert lines[-1]["kl"] != 0.0
    assert all(line["ratio_first"] == 1.0 for line in lines)
    assert all(line["sampler_gap"] < 1e-4 for line in lines)
    assert lines[-1]["value_loss"] < lines[0]["value_loss"]


def test_the_best_adapters_are_merged_into_the_result(
    stage: Stage, workspace: NewWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, [5.0, 4.0, 3.0, 2.0])
    unmoved = workspace("unmoved")
    stage.run(unmoved, lora=LORA)
    assert same_weights(unmoved.model, stage.chat)
    scripted(monkeypatch, [0.0, 1.0, 2.0, 3.0])
    moved = workspace("moved")
    stage.run(moved, lora=LORA)
    found = load_language_model(moved.model).state_dict()
    start = load_language_model(stage.chat).state_dict()
    assert found.keys() == start.keys()
    for name in start:
        assert torch.equal(found[name], start[name]) != ("_proj" in name), name
