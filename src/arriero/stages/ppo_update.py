"""The gradient steps of one iteration of PPO (section 3.2.3), on all ranks of a job.

A mini-batch is the same set of answers on any number of ranks. Each takes its part of them, and the
summed losses are divided by the answer tokens of all, so that a step does not depend on who took
what. A rank whose part is smaller goes through empty batches beside the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from arriero.alignment.rollouts import (
    Rollouts,
    answer_logprobs,
    answer_logprobs_and_entropy,
    answer_values,
)
from arriero.equations.advantage import generalized_advantages
from arriero.equations.masked import masked_sum, select, whiten
from arriero.equations.ppo import clip_share, explained_variance, policy_loss, value_loss
from arriero.equations.reward import penalized_rewards
from arriero.inference.batches import dealt
from arriero.stages.learner import Learner
from arriero.stages.ppo_config import PpoConfig
from arriero.stages.sampling import ChatModel
from arriero.stages.workspace import Ranks
from arriero.training.guards import Guard, Verdict
from arriero.training.parallel import clip_gradients, reshard


class Guards:
    """Judge the updates of policy and critic; one that is unfit for either is left out for both.

    Attributes:
        bad_in_a_row: how many of the last updates were not "ok".
    """

    def __init__(self, clip: float) -> None:
        self.bad_in_a_row = 0
        self._policy, self._critic = Guard(clip), Guard(clip)

    def judge(self, step: Step, policy_learns: bool) -> Verdict:
        """What an update is; a policy that does not learn yet is not judged by its gradient."""
        is_finite = all(map(math.isfinite, (step.policy_loss, step.ratio, step.grad_norm)))
        value_loss = step.value_loss if is_finite else math.nan
        verdict = self._critic.verdict(value_loss, step.critic_grad_norm)
        if policy_learns and verdict == "ok":
            verdict = self._policy.verdict(step.policy_loss, step.grad_norm)
        # Both take it for the same: what was left out for one is no example for the other.
        self._critic.record(verdict, value_loss, step.critic_grad_norm)
        if policy_learns:
            self._policy.record(verdict, step.policy_loss, step.grad_norm)
        self.bad_in_a_row = 0 if verdict == "ok" else self.bad_in_a_row + 1
        return verdict

    def state(self) -> dict[str, Any]:
        """All that later verdicts follow from, as JSON takes it."""
        return {
            "bad_in_a_row": self.bad_in_a_row,
            "policy": self._policy.state(),
            "critic": self._critic.state(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave; an empty one is a fresh start."""
        self.bad_in_a_row = int(state.get("bad_in_a_row", 0))
        self._policy.load_state(state.get("policy", {}))
        self._critic.load_state(state.get("critic", {}))


@dataclass(slots=True)
class Old:
    """Answers as they were before the first gradient step of the iteration.

    A rank's part of a mini-batch is a list of them: each is what goes through the models at once.
    All tensors are [B, T] and 0 outside the mask of the rollouts.
    """

    rollouts: Rollouts
    logprobs: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor
    kl: Tensor
    entropy: Tensor
    gap: Tensor

    @property
    def mask(self) -> Tensor:
        """[B, T] True on answer tokens, where the models are."""
        return self.rollouts.mask.to(self.values.device)


@dataclass(slots=True)
class MiniBatch:
    """The answers of one gradient step.

    Attributes:
        rows: all of them, by their place in the iteration's batch.
        num_tokens: their answer tokens.
        parts: those of this rank, as they were.
        explained_variance: of all their returns, by the critic's values.
    """

    rows: Tensor
    num_tokens: int
    parts: list[Old]
    explained_variance: float = 0.0


@dataclass(slots=True)
class Step:
    """What happened in one update, over all ranks: losses, ratio and clipping a token.

    Attributes:
        ratio_gap: how far any of the ratios was from 1, of this rank's share alone.
    """

    policy_loss: float
    value_loss: float
    ratio: float
    clip_share: float
    grad_norm: float
    critic_grad_norm: float
    verdict: Verdict = "ok"
    ratio_gap: float = 0.0


def divided(
    lengths: Sequence[int], size: int, seed: int, device: torch.device, ranks: Ranks
) -> list[tuple[Tensor, list[Tensor]]]:
    """Answers of similar length together, the mini-batches themselves in random order.

    Args:
        lengths: tokens of each prompt with its answer.
        size: answers a mini-batch.
        seed: of the order.

    Returns:
        For each mini-batch all its rows, and those of this rank in parts that go through the models
        at once; as many parts on every rank, of which some may be empty.
    """
    order = torch.argsort(torch.tensor(lengths), stable=True)
    found: list[tuple[Tensor, list[Tensor]]] = []
    for rows in order.split(size):
        own = [lengths[row] for row in rows.tolist()]
        parts = dealt(own, device, ranks.dp_rank, ranks.dp_size)
        found.append((rows, [rows[part] for part in parts]))
    shuffled = torch.randperm(len(found), generator=torch.Generator().manual_seed(seed))
    return [found[index] for index in shuffled.tolist()]


@torch.no_grad()
def as_they_were(
    config: PpoConfig,
    learner: Learner,
    reference: ChatModel,
    everything: Rollouts,
    whitened: Tensor,
    rows: Tensor,
) -> Old:
    """What the iteration's updates start from, for some of its answers.

    Args:
        everything: all answers of the iteration.
        whitened: [B] what each of them earned, whitened.
        rows: which ones; none are a row without an answer.
    """
    rollouts = everything.rows(rows)
    score = whitened[rows] if len(rows) else whitened.new_zeros(1)
    mask = rollouts.mask.to(learner.critic.score.weight.device)
    logprobs, spread = answer_logprobs_and_entropy(
        learner.policy.model, rollouts, config.temperature
    )
    starting = answer_logprobs(reference.model, rollouts, config.temperature)
    values = answer_values(learner.critic, rollouts)
    rewards = penalized_rewards(score.to(mask.device), logprobs, starting, mask, config.beta)
    advantages, returns = generalized_advantages(rewards, values, mask, config.gamma, config.lam)
    gap = (logprobs - rollouts.sampler_logprobs.to(mask.device)).abs()
    kl = torch.where(mask, logprobs - starting, 0.0)
    return Old(rollouts, logprobs, values, advantages, returns, kl, spread, gap)


def mini_batches(
    config: PpoConfig,
    learner: Learner,
    reference: ChatModel,
    rollouts: Rollouts,
    whitened: Tensor,
    divisions: Sequence[tuple[Tensor, list[Tensor]]],
    ranks: Ranks,
) -> list[MiniBatch]:
    """The mini-batches of an iteration, advantages whitened over all its answer tokens."""
    found = [
        MiniBatch(
            rows,
            int(rollouts.lengths[rows].sum()),
            [as_they_were(config, learner, reference, rollouts, whitened, part) for part in parts],
        )
        for rows, parts in divisions
    ]
    for model in (learner.policy.model, learner.critic, reference.model):
        reshard(model)
    _share_statistics(found, ranks)
    return found


def _share_statistics(found: Sequence[MiniBatch], ranks: Ranks) -> None:
    """Advantages of mean 0 and variance 1 over all ranks, and how well the critic did on all."""
    flat = [_flat(batch.parts) for batch in found]
    of_all = ranks.from_shares(flat)
    for number, batch in enumerate(found):
        _, values, returns = (
            torch.cat(part) for part in zip(*(own[number] for own in of_all), strict=True)
        )
        every = torch.ones_like(values, dtype=torch.bool)
        batch.explained_variance = float(explained_variance(values, returns, every))
    advantages = [torch.cat([own[0] for own in share]) for share in of_all]
    together = torch.cat(advantages)
    whitened = whiten(together, torch.ones_like(together, dtype=torch.bool))
    begin = sum(len(share) for share in advantages[: ranks.dp_rank])
    for part in (part for batch in found for part in batch.parts):
        mask = part.mask
        count = int(mask.sum())
        part.advantages = torch.zeros_like(part.advantages)
        part.advantages[mask] = whitened[begin : begin + count].to(mask.device)
        begin += count


def _flat(parts: Sequence[Old]) -> tuple[Tensor, Tensor, Tensor]:
    """Advantages, values and returns of all answer tokens, on the CPU: ranks exchange them."""
    fields = ("advantages", "values", "returns")
    advantages, values, returns = (
        torch.cat([getattr(part, name)[part.mask] for part in parts]).cpu() for name in fields
    )
    return advantages, values, returns


def update(
    config: PpoConfig,
    learner: Learner,
    batch: MiniBatch,
    policy_learns: bool,
    guards: Guards,
    ranks: Ranks,
) -> Step:
    """One gradient step of policy and critic on a mini-batch, its gradient summed over parts.

    Where the guards find it unfit, both are left as they were.
    """
    sums, ratio_gap = [0.0] * 4, 0.0
    for optimizer in learner.optimizers().values():
        optimizer.zero_grad(set_to_none=True)
    for old in batch.parts:
        mask = old.mask
        with torch.set_grad_enabled(policy_learns):
            logprobs = answer_logprobs(learner.policy.model, old.rollouts, config.temperature)
            loss = policy_loss(logprobs, old.logprobs, old.advantages, mask, config.clip)
            surrogate = masked_sum(loss, mask)
        if policy_learns:
            (surrogate / batch.num_tokens).backward()
        values = answer_values(learner.critic, old.rollouts)
        distance = masked_sum(value_loss(values, old.values, old.returns, mask), mask)
        (distance / batch.num_tokens).backward()
        with torch.no_grad():
            ratios = (logprobs - old.logprobs).exp()
            ratio = masked_sum(ratios, mask)
            ratio_gap = max(ratio_gap, float(select((ratios - 1).abs(), mask).max()))
            clipped = clip_share(logprobs, old.logprobs, mask, config.clip) * mask.sum()
        for place, value in enumerate((surrogate, distance, ratio, clipped)):
            sums[place] += float(value.detach())
    surrogate, distance, ratio, clipped = (total / batch.num_tokens for total in ranks.sums(sums))
    norm, critic_norm = (
        _clip(model, config.optimizer.clip) for model in (learner.policy.model, learner.critic)
    )
    step = Step(surrogate, distance, ratio, clipped, norm, critic_norm, ratio_gap=ratio_gap)
    step.verdict = guards.judge(step, policy_learns)
    if step.verdict == "ok":
        if policy_learns:
            learner.policy_optimizer.step()
        learner.critic_optimizer.step()
    return step


def _clip(model: nn.Module, most: float) -> float:
    """Scale its gradients down to a norm of `most`; returns the norm before."""
    reshard(model)  # a policy that did not learn is together still
    return clip_gradients(list(model.parameters()), most)
