"""PPO's models: with adapters they stand on weights that are in memory already."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from arriero.alignment.scoring import RewardModels
from arriero.model.lora import LoraConfig
from arriero.stages.learner import CriticSource, Learner, adapter_learner, full_learner
from arriero.stages.sampling import ChatModel
from arriero.stages.workspace import Workspace
from arriero.training.optimizer import OptimizerConfig

CPU = torch.device("cpu")
SPACE = Workspace(Path(), 0, CPU, lambda line: None)
SLOW = OptimizerConfig(peak=1e-3, warmup_steps=0)
LORA = LoraConfig(rank=2)
# Of a matrix [outputs, inputs]: rank * (outputs + inputs); see CONFIG of the models.
ADAPTERS = 2 * ((16 + 16) + 2 * (16 + 8) + (16 + 16) + 3 * (16 + 32))


class Adapted:
    """A learner with what it stands on."""

    def __init__(self, chat: Path, rewards: tuple[Path, Path], source: CriticSource) -> None:
        self.reference = ChatModel.load(chat, CPU)
        self.judges = RewardModels.load(*rewards, self.reference.tokenizer, CPU)
        self.learner = adapter_learner(LORA, self.reference, self.judges, source, SLOW, 1e-2, SPACE)


def num_values(models: Iterable[nn.Module]) -> int:
    """Parameters of all models, what they share counted once."""
    return sum({p.data_ptr(): p.numel() for m in models for p in m.parameters()}.values())


def values(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("source", ["helpfulness", "safety", "fresh"])
def test_nothing_is_held_twice(
    chat_folder: Path, reward_folders: tuple[Path, Path], source: CriticSource
) -> None:
    """Policy, best and critic cost their adapters and a score head, whatever they stand on."""
    made = Adapted(chat_folder, reward_folders, source)
    standing = [made.reference.model, made.judges.helpfulness, made.judges.safety]
    learner = made.learner
    moving = [learner.policy.model, learner.best.model, learner.critic]
    assert num_values([*standing, *moving]) - num_values(standing) == 3 * ADAPTERS + 16
    trained = {
        name: sum(p.numel() for p in module.parameters())
        for name, module in learner.modules().items()
    }
    assert trained == {"policy": ADAPTERS, "critic": ADAPTERS + 16, "best": ADAPTERS}
    base = {"helpfulness": standing[1], "safety": standing[2], "fresh": standing[0]}[source]
    assert learner.critic.model.embed_tokens.weight is base.model.embed_tokens.weight
    whole = full_learner(chat_folder, reward_folders, source, SLOW, 1e-2, SPACE)
    separate = [whole.policy.model, whole.best.model, whole.critic]
    alone = sum(num_values([model]) for model in separate)
    assert num_values([*standing, *separate]) - num_values(standing) == alone


@pytest.mark.parametrize("source", ["helpfulness", "safety", "fresh"])
def test_it_starts_where_full_training_starts(
    chat_folder: Path, reward_folders: tuple[Path, Path], source: CriticSource
) -> None:
    adapted = Adapted(chat_folder, reward_folders, source).learner
    whole = full_learner(chat_folder, reward_folders, source, SLOW, 1e-2, SPACE)
    tokens = torch.randint(3, 300, (2, 9), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for name in ("policy", "best"):
            one, other = (getattr(learner, name).model for learner in (adapted, whole))
            assert torch.equal(one(tokens), other(tokens))
        assert torch.equal(adapted.critic(tokens), whole.critic(tokens))


def test_steps_leave_reference_and_judges_as_they_were(
    chat_folder: Path, reward_folders: tuple[Path, Path]
) -> None:
    made = Adapted(chat_folder, reward_folders, "helpfulness")
    learner = made.learner
    tokens = torch.randint(3, 300, (2, 9), generator=torch.Generator().manual_seed(0))
    frozen = (made.reference.model, made.judges.helpfulness, made.judges.safety)
    with torch.no_grad():
        before = [model(tokens) for model in (*frozen, learner.policy.model, learner.critic)]
    step(learner, tokens)
    with torch.no_grad():
        after = [model(tokens) for model in (*frozen, learner.policy.model, learner.critic)]
    same = [torch.equal(one, other) for one, other in zip(before, after, strict=True)]
    assert same == [True, True, True, False, False]


def test_optimizers_hold_only_what_learns(
    chat_folder: Path, reward_folders: tuple[Path, Path]
) -> None:
    learner = Adapted(chat_folder, reward_folders, "fresh").learner
    step(learner, torch.full((1, 4), 9))
    counts = {
        name: sum(entry["exp_avg"].numel() for entry in optimizer.state_dict()["state"].values())
        for name, optimizer in learner.optimizers().items()
    }
    assert counts == {"policy": ADAPTERS, "critic": ADAPTERS + 16}
    rates = [o.param_groups[0]["lr"] for o in learner.optimizers().values()]
    assert rates == [1e-3, 1e-2]


@pytest.mark.parametrize("adapters", [True, False])
def test_the_best_policy_is_kept_while_the_policy_moves_on(
    chat_folder: Path, reward_folders: tuple[Path, Path], adapters: bool
) -> None:
    if adapters:
        learner = Adapted(chat_folder, reward_folders, "fresh").learner
    else:
        learner = full_learner(chat_folder, reward_folders, "fresh", SLOW, 1e-2, SPACE)
    tokens = torch.full((1, 4), 9)
    step(learner, tokens)
    learner.keep_policy()
    kept = values(learner.policy.model).clone()
    assert torch.equal(values(learner.best.model), kept)
    step(learner, tokens)
    assert torch.equal(values(learner.best.model), kept)
    assert not torch.equal(values(learner.policy.model), kept)


def step(learner: Learner, tokens: Tensor) -> None:
    (learner.policy.model(tokens).square().sum() + learner.critic(tokens).square().sum()).backward()
    for optimizer in learner.optimizers().values():
        optimizer.step()
        optimizer.zero_grad()
