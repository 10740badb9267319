"""What PPO moves: the policy, its critic, the best policy so far, and their optimizers.

On the ranks of a job each of them lies in shares. With adapters (model.lora) no weights are loaded
for them: the policy and the best one stand on the reference, the critic on the reward model that
judges, or on the reference as well; on ranks each of them then has shares of its own of what it
stands on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from arriero.alignment.scoring import RewardModels
from arriero.model.heads import ScoreModel
from arriero.model.lora import LoraConfig, trained_part, with_adapters
from arriero.model.weights import load_language_model
from arriero.stages.placement import read_score_model, spread
from arriero.stages.sampling import ChatModel
from arriero.stages.workspace import Workspace
from arriero.training.optimizer import OptimizerConfig, adamw
from arriero.training.parallel import reshard

CriticSource = Literal["helpfulness", "safety", "fresh"]
"""What the critic starts from: a reward model, or the policy under a new head."""


@dataclass(frozen=True)
class Learner:
    """What PPO moves."""

    policy: ChatModel
    critic: ScoreModel
    best: ChatModel
    policy_optimizer: torch.optim.AdamW
    critic_optimizer: torch.optim.AdamW

    def modules(self) -> dict[str, nn.Module]:
        """What of all three learns, for a checkpoint."""
        models = {"policy": self.policy.model, "critic": self.critic, "best": self.best.model}
        return {name: trained_part(model) for name, model in models.items()}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Both by the name of what they move."""
        return {"policy": self.policy_optimizer, "critic": self.critic_optimizer}

    def keep_policy(self) -> None:
        """Take the policy as it is now for the best."""
        reshard(self.policy.model)
        pairs = zip(self.best.model.parameters(), self.policy.model.parameters(), strict=True)
        with torch.no_grad():
            for best, newest in pairs:
                if newest.requires_grad:
                    best.copy_(newest)


def full_learner(
    start: Path,
    rewards: tuple[Path, Path],
    critic_from: CriticSource,
    optimizer: OptimizerConfig,
    critic_peak: float,
    workspace: Workspace,
) -> Learner:
    """All weights learn: policy, critic and the best policy are models of their own.

    Args:
        start: the chat model that the policy starts from.
        rewards: folders of the helpfulness and the safety model.
        optimizer: of the policy; the critic's differs in its rate, `critic_peak`.
        workspace: says who shares the models; a fresh head is drawn from its seed.
    """
    if critic_from == "fresh":
        # On ranks the one model that each of them reads whole first: its head is drawn.
        decoder = load_language_model(start).float().model
        critic = spread(ScoreModel.over(decoder, workspace.seed), workspace, "float32")
    else:
        folder = rewards[0] if critic_from == "helpfulness" else rewards[1]
        critic = read_score_model(folder, workspace, "float32")
    policy, best = (ChatModel.spread(start, workspace) for _ in range(2))
    return _with_optimizers(policy, critic, best, optimizer, critic_peak)


def adapter_learner(
    lora: LoraConfig,
    reference: ChatModel,
    judges: RewardModels,
    critic_from: CriticSource,
    optimizer: OptimizerConfig,
    critic_peak: float,
    workspace: Workspace,
) -> Learner:
    """Adapters learn, on the frozen weights of models that are in memory already.

    Args:
        reference: what the policy starts from and must not stray from; whole.
        judges: the reward models; whole.
        optimizer, critic_peak, workspace: as in `full_learner`.

    Raises:
        UserError: tensor-parallel ranks would have to share the adapters.
    """
    seed = workspace.seed
    if critic_from == "fresh":
        base = ScoreModel.over(reference.model.model, seed)
    else:
        base = judges.helpfulness if critic_from == "helpfulness" else judges.safety
    critic = spread(with_adapters(base, lora, seed + 1), workspace, "float32")
    policy, best = (
        replace(
            reference,
            model=spread(with_adapters(reference.model, lora, seed), workspace, "float32"),
        )
        for _ in range(2)
    )
    return _with_optimizers(policy, critic, best, optimizer, critic_peak)


def _with_optimizers(
    policy: ChatModel,
    critic: ScoreModel,
    best: ChatModel,
    optimizer: OptimizerConfig,
    critic_peak: float,
) -> Learner:
    of_critic = optimizer.model_copy(update={"peak": critic_peak})
    return Learner(
        policy=policy,
        critic=critic,
        best=best,
        policy_optimizer=adamw([policy.model], optimizer),
        critic_optimizer=adamw([critic], of_critic),
    )
