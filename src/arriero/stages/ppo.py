"""Stage `ppo`: proximal policy optimization against both reward models (section 3.2.3).

Departures, none of them in the paper: k1 KL a token, gamma 1 and lambda 0.95, a separate critic
that starts from the helpfulness model, whitened advantages. Early stopping is the paper's: the
policy that scores best on held-out prompts is the result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from arriero.alignment.rollouts import Rollouts, answer_logprobs, answer_values, lay_out
from arriero.alignment.scoring import CompositeScores, RewardModels
from arriero.data.prompts import read_prompts
from arriero.data.shards import row_order
from arriero.equations.advantage import generalized_advantages
from arriero.equations.masked import masked_sum, whiten
from arriero.equations.ppo import clip_share, explained_variance, policy_loss, value_loss
from arriero.equations.repetition import repeated_ngram_share
from arriero.equations.reward import penalized_rewards
from arriero.inference.batches import batches
from arriero.inference.generate import Sampling
from arriero.model.lora import LoraConfig, count_trained
from arriero.records import Prompt, UserError
from arriero.stages.learner import CriticSource, Learner, adapter_learner, full_learner
from arriero.stages.sampling import Answer, ChatModel
from arriero.stages.sft import save_chat_model
from arriero.stages.workspace import Workspace
from arriero.training.checkpoint import load_checkpoint, save_checkpoint
from arriero.training.meters import Meter, TimeLeft
from arriero.training.optimizer import OptimizerConfig, completed_by

_OPTIMIZER = OptimizerConfig(peak=1e-6, warmup_steps=0, final_share=1.0)


class PpoConfig(BaseModel):
    """Section 3.2.3: 512 samples an iteration, mini-batches of 64, one step each, clip 0.2."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    iterations: int = Field(default=400, gt=0, description="most iterations; the paper: 200 to 400")
    samples: int = Field(default=512, gt=0, description="answers an iteration; 512")
    mini_batch: int = Field(default=64, gt=0, description="answers a gradient step; 64")
    clip: float = Field(default=0.2, gt=0, description="ratio clip; 0.2")
    beta: float = Field(
        default=0.01, ge=0, description="KL weight; 0.01 (7B, 13B), 0.005 (34B, 70B)"
    )
    gamma: float = Field(default=1.0, gt=0, le=1, description="discount a token; ours")
    lam: float = Field(default=0.95, ge=0, le=1, description="lambda of GAE; ours")
    temperature: float = Field(default=1.0, gt=0, description="temperature of the rollouts")
    max_new_tokens: int = Field(default=512, gt=0, description="longest answer in tokens")
    critic_from: CriticSource = Field(
        default="helpfulness",
        description="what the critic starts from; fresh is the policy under a new head; ours",
    )
    critic_warmup: int = Field(
        default=0, ge=0, description="first iterations in which only the critic learns; ours"
    )
    held_out_prompts: int = Field(default=256, gt=0, description="prompts of the early-stop check")
    held_out_every: int = Field(default=10, gt=0, description="iterations between checks")
    patience: int = Field(default=5, gt=0, description="checks without a gain before it stops")
    checkpoint_every: int = Field(default=10, gt=0, description="iterations between checkpoints")
    optimizer: Annotated[OptimizerConfig, completed_by(_OPTIMIZER)] = Field(
        default=_OPTIMIZER, description="AdamW of the policy; the rate is constant"
    )
    critic_peak: float = Field(
        default=1e-6, gt=0, description="constant learning rate of the critic; ours"
    )
    lora: LoraConfig = LoraConfig()


def run(
    config: PpoConfig,
    *,
    start: Path,
    rewards: tuple[Path, Path],
    prompts: Sequence[Path],
    held_out: Sequence[Path],
    workspace: Workspace,
) -> None:
    """Move the policy `start` up the composite reward; the best on held-out prompts is kept."""
    reference = ChatModel.load(start, workspace.device)
    reference.model.requires_grad_(False)
    judges = RewardModels.load(*rewards, reference.tokenizer, workspace.device)
    learner = _learner(config, start, rewards, reference, judges, workspace)
    usable = reference.fitting(list(read_prompts(prompts)), config.max_new_tokens)
    checked = reference.fitting(list(read_prompts(held_out)), config.max_new_tokens)
    checked = checked[: config.held_out_prompts]
    state = load_checkpoint(workspace.checkpoints, learner.modules(), learner.optimizers())
    if state is None:
        begin = _held_out_score(config, learner.policy, judges, checked, workspace)
        state = {"step": 0, "start": begin, "best": begin, "best_iteration": 0, "stopped": False}
        workspace.say(f"held-out score at the start {begin:.3f}")
    meter = Meter(
        workspace.metrics if workspace.ranks.is_first else None,
        state["step"],
        config.iterations,
        workspace.say,
        "answers",
        machine=workspace.machine("float32"),
        sinks=workspace.sinks(state["step"]),
    )
    num_samples = min(config.samples, len(usable))
    left = TimeLeft(config.iterations, state["step"])
    for iteration in range(state["step"], config.iterations):
        if state["stopped"]:
            break
        chosen = row_order(len(usable), num_samples, iteration, workspace.seed)
        batch = [usable[index] for index in chosen]
        figures = _iterate(config, learner, reference, judges, batch, iteration, workspace)
        done = iteration + 1
        if done % config.held_out_every == 0 or done == config.iterations:
            score = _held_out_score(config, learner.policy, judges, checked, workspace)
            figures["held_out"] = score
            if score > state["best"]:
                learner.keep_policy()
                state |= {"best": score, "best_iteration": done}
            stale = (done - state["best_iteration"]) // config.held_out_every
            state["stopped"] = stale >= config.patience
        meter.write(figures | {"num_steps": config.iterations})
        _say(workspace, figures, config.iterations, left)
        if "held_out" in figures:
            sample = _examples(config, learner.policy, checked[:1], workspace.seed)[0]
            workspace.show(sample["prompt"], sample["answer"])
        if done % config.checkpoint_every == 0 or done == config.iterations or state["stopped"]:
            state["step"] = done
            rest = {key: value for key, value in state.items() if key != "step"}
            save_checkpoint(
                workspace.checkpoints, done, learner.modules(), learner.optimizers(), rest
            )
    meter.close()
    save_chat_model(learner.best.model, learner.best.tokenizer, workspace.model)
    workspace.write_results(
        {
            "iterations": state["step"],
            "best_iteration": state["best_iteration"],
            "held_out_start": state["start"],
            "held_out_best": state["best"],
            "stopped_early": state["stopped"],
            "samples": _examples(config, learner.best, checked[:6], workspace.seed),
        }
    )


def _learner(
    config: PpoConfig,
    start: Path,
    rewards: tuple[Path, Path],
    reference: ChatModel,
    judges: RewardModels,
    workspace: Workspace,
) -> Learner:
    seed, source = workspace.seed, config.critic_from
    optimizer, critic_peak = config.optimizer, config.critic_peak
    if not config.lora.rank:
        device = workspace.device
        return full_learner(start, rewards, source, optimizer, critic_peak, seed, device)
    learner = adapter_learner(config.lora, reference, judges, source, optimizer, critic_peak, seed)
    workspace.say(f"policy: {count_trained(learner.policy.model)}")
    return learner


def _iterate(
    config: PpoConfig,
    learner: Learner,
    reference: ChatModel,
    judges: RewardModels,
    prompts: Sequence[Prompt],
    iteration: int,
    workspace: Workspace,
) -> dict[str, Any]:
    """One iteration: sample, score, then one gradient step a mini-batch. Returns its figures."""
    sampling = Sampling(temperature=config.temperature, max_new_tokens=config.max_new_tokens)
    seed = workspace.seed * 100_003 + iteration
    answers = [samples[0] for samples in learner.policy.answers(prompts, sampling, seed=seed)]
    scores = _scores(judges, prompts, answers)
    everything = torch.ones(len(prompts), dtype=torch.bool)
    # Whitened as scalars, over the whole batch, before the KL term comes in.
    whitened = whiten(scores.composite, everything)
    rollouts = lay_out([a.prompt_ids for a in answers], [a.completion for a in answers])
    lengths = [len(answer.ids) for answer in answers]
    order = torch.argsort(torch.tensor(lengths), stable=True)
    mini_batches = [
        [_Old.of(config, learner, reference, rollouts.rows(part), whitened[part]) for part in parts]
        for parts in _mini_batches(order, lengths, config.mini_batch, seed, workspace.device)
    ]
    old = [part for parts in mini_batches for part in parts]
    _whiten_advantages(old)
    policy_learns = iteration >= config.critic_warmup
    steps = [_step(config, learner, parts, policy_learns) for parts in mini_batches]
    if all(step["skipped"] for step in steps):
        raise UserError(
            f"loss or gradient was not finite in all of iteration {iteration + 1}; lower "
            "ppo.optimizer.peak or ppo.critic_peak (the last checkpoint is whole)"
        )
    return {
        "iteration": iteration + 1,
        "step": iteration,
        "reward": float(scores.composite.mean()),
        "score_helpfulness": float(scores.helpfulness.mean()),
        "score_safety": float(scores.safety.mean()),
        "kl": sum(float(part.kl.sum()) for part in old) / len(prompts),
        "length": float(rollouts.lengths.float().mean()),
        "entropy": _token_mean([part.entropy for part in old], old),
        "sampler_gap": _token_mean([part.gap for part in old], old),
        "clip_share": sum(step["clip_share"] for step in steps) / len(steps),
        "ratio_first": steps[0]["ratio"],
        "policy_loss": sum(step["policy_loss"] for step in steps) / len(steps),
        "value_loss": sum(step["value_loss"] for step in steps) / len(steps),
        "grad_norm": sum(step["grad_norm"] for step in steps) / len(steps),
        "explained_variance": sum(step["explained_variance"] for step in steps) / len(steps),
        "skipped": sum(step["skipped"] for step in steps),
        "repetition": sum(repeated_ngram_share(a.completion.tokens) for a in answers)
        / len(answers),
        "ended": sum(a.completion.ended for a in answers) / len(answers),
    }


@dataclass(slots=True)
class _Old:
    """Rows of a mini-batch as they were before the first gradient step of the iteration.

    A mini-batch is a list of such parts: what goes through the models at once.
    """

    rollouts: Rollouts
    logprobs: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor
    kl: Tensor
    entropy: Tensor
    gap: Tensor

    @classmethod
    @torch.no_grad()
    def of(
        cls,
        config: PpoConfig,
        learner: Learner,
        reference: ChatModel,
        rollouts: Rollouts,
        score: Tensor,
    ) -> _Old:
        mask = rollouts.mask.to(learner.critic.score.weight.device)
        logprobs, spread = answer_logprobs(learner.policy.model, rollouts, config.temperature)
        starting, _ = answer_logprobs(reference.model, rollouts, config.temperature)
        values = answer_values(learner.critic, rollouts)
        rewards = penalized_rewards(score.to(mask.device), logprobs, starting, mask, config.beta)
        advantages, returns = generalized_advantages(
            rewards, values, mask, config.gamma, config.lam
        )
        gap = (logprobs - rollouts.sampler_logprobs.to(mask.device)).abs()
        kl = torch.where(mask, logprobs - starting, 0.0)
        return cls(rollouts, logprobs, values, advantages, returns, kl, spread, gap)


def _step(
    config: PpoConfig, learner: Learner, parts: Sequence[_Old], policy_learns: bool
) -> dict[str, float]:
    """One gradient step of policy and critic on one mini-batch, its gradient summed over parts.

    Where loss or gradient is not finite, both are left as they were.
    """
    num_tokens = _num_tokens(parts)
    sums = dict.fromkeys(("policy_loss", "value_loss", "ratio", "clip_share"), 0.0)
    learner.policy_optimizer.zero_grad(set_to_none=True)
    learner.critic_optimizer.zero_grad(set_to_none=True)
    for old in parts:
        mask = old.rollouts.mask.to(old.logprobs.device)
        logprobs, _ = answer_logprobs(learner.policy.model, old.rollouts, config.temperature)
        surrogate = masked_sum(
            policy_loss(logprobs, old.logprobs, old.advantages, mask, config.clip), mask
        )
        if policy_learns:
            (surrogate / num_tokens).backward()
        values = answer_values(learner.critic, old.rollouts)
        distance = masked_sum(value_loss(values, old.values, old.returns, mask), mask)
        (distance / num_tokens).backward()
        with torch.no_grad():
            sums["policy_loss"] += float(surrogate)
            sums["value_loss"] += float(distance)
            sums["ratio"] += float(masked_sum((logprobs - old.logprobs).exp(), mask))
            clipped = clip_share(logprobs, old.logprobs, mask, config.clip)
            sums["clip_share"] += float(clipped * mask.sum())
    clip = config.optimizer.clip
    norms = [
        float(torch.nn.utils.clip_grad_norm_(model.parameters(), clip))
        for model in (learner.policy.model, learner.critic)
    ]
    healthy = all(math.isfinite(value) for value in (*sums.values(), *norms))
    if healthy and policy_learns:
        learner.policy_optimizer.step()
    if healthy:
        learner.critic_optimizer.step()
    masks = [old.rollouts.mask.to(old.values.device) for old in parts]
    values = torch.cat([old.values[mask] for old, mask in zip(parts, masks, strict=True)])
    returns = torch.cat([old.returns[mask] for old, mask in zip(parts, masks, strict=True)])
    explained = explained_variance(values, returns, torch.ones_like(values, dtype=torch.bool))
    return {
        **{name: total / num_tokens for name, total in sums.items()},
        "grad_norm": norms[0],
        "explained_variance": float(explained),
        "skipped": float(not healthy),
    }


def _mini_batches(
    order: Tensor, lengths: Sequence[int], size: int, seed: int, device: torch.device
) -> list[list[Tensor]]:
    """Rows of similar length together, the mini-batches themselves in random order.

    Each mini-batch comes in parts that go through the models at once.
    """
    found: list[list[Tensor]] = []
    for rows in order.split(size):
        parts = batches([lengths[row] for row in rows.tolist()], device)
        found.append([rows[part] for part in parts])
    shuffled = torch.randperm(len(found), generator=torch.Generator().manual_seed(seed))
    return [found[index] for index in shuffled.tolist()]


def _whiten_advantages(parts: Sequence[_Old]) -> None:
    """Mean 0 and variance 1 over all answer tokens of the iteration, whatever the mini-batch."""
    masks = [part.rollouts.mask.to(part.advantages.device) for part in parts]
    flat = torch.cat([p.advantages[mask] for p, mask in zip(parts, masks, strict=True)])
    whitened = whiten(flat, torch.ones_like(flat, dtype=torch.bool))
    begin = 0
    for part, mask in zip(parts, masks, strict=True):
        count = int(mask.sum())
        part.advantages = torch.zeros_like(part.advantages)
        part.advantages[mask] = whitened[begin : begin + count]
        begin += count


def _token_mean(tensors: Sequence[Tensor], parts: Sequence[_Old]) -> float:
    return sum(float(tensor.sum()) for tensor in tensors) / _num_tokens(parts)


def _num_tokens(parts: Sequence[_Old]) -> int:
    return sum(int(part.rollouts.mask.sum()) for part in parts)


def _scores(
    judges: RewardModels, prompts: Sequence[Prompt], answers: Sequence[Answer]
) -> CompositeScores:
    tagged = torch.tensor([prompt.track == "safety" for prompt in prompts])
    return judges.score([answer.ids for answer in answers], tagged)


def _held_out_score(
    config: PpoConfig,
    policy: ChatModel,
    judges: RewardModels,
    prompts: Sequence[Prompt],
    workspace: Workspace,
) -> float:
    """Mean composite raw score of one sampled answer to each held-out prompt."""
    sampling = Sampling(temperature=config.temperature, max_new_tokens=config.max_new_tokens)
    answers = policy.answers(prompts, sampling, seed=workspace.seed + 7)
    flat = [samples[0] for samples in answers]
    return float(_scores(judges, prompts, flat).composite.mean())


def _say(workspace: Workspace, figures: dict[str, Any], iterations: int, left: TimeLeft) -> None:
    held_out = f"  held out {figures['held_out']:.3f}" if "held_out" in figures else ""
    workspace.say(
        f"iteration {figures['iteration']}/{iterations}  reward {figures['reward']:.3f}  "
        f"KL {figures['kl']:.3f}  length {figures['length']:.1f}{held_out}  "
        f"{left.after(figures['iteration'])}"
    )


def _examples(
    config: PpoConfig, policy: ChatModel, prompts: Sequence[Prompt], seed: int
) -> list[dict[str, str]]:
    sampling = Sampling(temperature=config.temperature, max_new_tokens=config.max_new_tokens)
    answers = policy.answers(prompts, sampling, seed=seed)
    return [
        {"prompt": prompt.messages[-1].content, "answer": samples[0].text}
        for prompt, samples in zip(prompts, answers, strict=True)
    ]
