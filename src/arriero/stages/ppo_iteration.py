"""One iteration of PPO (section 3.2.3): sample, score, then one gradient step a mini-batch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from arriero.alignment.rollouts import lay_out
from arriero.alignment.scoring import CompositeScores, RewardModels
from arriero.equations.intervals import standard_error
from arriero.equations.logprobs import kl_k3
from arriero.equations.masked import whiten
from arriero.equations.repetition import repeated_ngram_share
from arriero.inference.generate import Sampling
from arriero.records import Prompt, UserError
from arriero.stages.learner import Learner
from arriero.stages.ppo_config import PpoConfig
from arriero.stages.ppo_update import Guards, MiniBatch, Old, Step, divided, mini_batches, update
from arriero.stages.recording import note_skipped
from arriero.stages.sampling import Answer, Answering, ChatModel, composite_scores
from arriero.stages.served import refuse_parted, sampled_from
from arriero.stages.workspace import Ranks, Workspace
from arriero.training.stopping import StopRequest

_MOST_SKIPPED = 3


def iterate(
    config: PpoConfig,
    learner: Learner,
    reference: ChatModel,
    judges: RewardModels,
    prompts: Sequence[Prompt],
    iteration: int,
    workspace: Workspace,
    guards: Guards,
    stop: StopRequest,
) -> dict[str, Any]:
    """One iteration, counted from 0, on all ranks together; returns its figures.

    Args:
        prompts: those of the whole iteration, whatever the number of ranks.
        guards: leave updates out that are not fit to be taken.
        stop: is heeded while answers are sampled, when nothing has been learned yet.

    Raises:
        Stopped: a rank was asked to stop before the first update.
        UserError: three updates in a row were not fit to be taken, or a server's answers are not
            the policy's.
    """
    ranks = workspace.ranks
    seed = workspace.seed * 100_003 + iteration
    clock = Stopwatch()
    policy = sampled_from(learner.policy, config.sampler_url, config.rollout_precision, workspace)
    flat = sampled(config, policy, prompts, seed, workspace, stop)
    del policy  # a whole copy, which need not lie beside what scores and learns
    clock.lap("generation")
    scores = scored(judges, prompts, flat, workspace)
    clock.lap("scoring")
    prompts, flat, scores = _with_scores(prompts, flat, scores, iteration, workspace)
    # Whitened as scalars, over the whole batch, before the KL term comes in.
    whitened = whiten(scores.composite, torch.ones(len(prompts), dtype=torch.bool))
    rollouts = lay_out([a.prompt_ids for a in flat], [a.completion for a in flat])
    lengths = [len(answer.ids) for answer in flat]
    divisions = divided(lengths, config.mini_batch, seed, workspace.device, ranks)
    found = mini_batches(config, learner, reference, rollouts, whitened, divisions, ranks)
    of_tokens = _of_tokens(found, len(prompts), workspace)
    if config.sampler_url:
        refuse_parted(of_tokens["sampler_gap"], config.sampler_url)
    clock.lap("forward")
    steps: list[Step] = []
    for number, batch in enumerate(found):
        policy_learns = iteration >= config.critic_warmup
        steps.append(update(config, learner, batch, policy_learns, guards, ranks))
        if steps[-1].verdict != "ok":
            members = [prompts[row].id for row in batch.rows.tolist()]
            _note_skipped(steps[-1], iteration, number, members, workspace)
        if guards.bad_in_a_row >= _MOST_SKIPPED:
            raise UserError(
                f"loss or gradient was not finite or jumped for {_MOST_SKIPPED} updates up to "
                f"iteration {iteration + 1}; lower ppo.optimizer.peak or ppo.critic_peak (the "
                "last checkpoint is whole)"
            )
    clock.lap("update")
    return {
        "iteration": iteration + 1,
        "step": iteration,
        **_of_answers(flat, scores, rollouts.lengths),
        **of_tokens,
        **_of_updates(steps, found, ranks),
        **clock.figures(),
    }


def sampled(
    config: PpoConfig,
    policy: Answering,
    prompts: Sequence[Prompt],
    seed: int,
    workspace: Workspace,
    stop: StopRequest | None = None,
) -> list[Answer]:
    """An answer to each prompt from the whole distribution; the same ones on any number of ranks.

    Raises:
        Stopped: a rank was asked to stop.
    """
    sampling = Sampling(temperature=config.temperature, max_new_tokens=config.max_new_tokens)
    answers = policy.answers(prompts, sampling, seed=seed, ranks=workspace.ranks, stop=stop)
    return [samples[0] for samples in answers]


def scored(
    judges: RewardModels, prompts: Sequence[Prompt], answers: Sequence[Answer], workspace: Workspace
) -> CompositeScores:
    """Raw scores of an answer to each prompt; the same ones on any number of ranks."""
    tagged = torch.tensor([prompt.track == "safety" for prompt in prompts])
    return composite_scores(judges, answers, tagged, workspace.ranks)


def has_scores(scores: CompositeScores) -> Tensor:
    """Which answers [N] both models have a finite score for.

    The composite alone does not say: an unknown safety is not below the threshold.
    """
    return scores.helpfulness.isfinite() & scores.safety.isfinite()


class Stopwatch:
    """Seconds of the parts of an iteration on this rank, and the share of the first one."""

    def __init__(self) -> None:
        self._parts: dict[str, float] = {}
        self._before = time.perf_counter()

    def lap(self, part: str) -> None:
        """What was done since the last call, or since the start, was this."""
        now = time.perf_counter()
        self._parts[part] = now - self._before
        self._before = now

    def figures(self) -> dict[str, float]:
        """Seconds by part, and the share of generation, for which the paper gathers the weights."""
        seconds = {f"{part}_s": spent for part, spent in self._parts.items()}
        whole = max(sum(seconds.values()), 1e-9)
        return {**seconds, "generation_share": self._parts["generation"] / whole}


def _with_scores(
    prompts: Sequence[Prompt],
    answers: Sequence[Answer],
    scores: CompositeScores,
    iteration: int,
    workspace: Workspace,
) -> tuple[list[Prompt], list[Answer], CompositeScores]:
    """Without the answers that a reward model has no finite score for; each is named.

    Raises:
        UserError: fewer than two are left, of which nothing can be learned.
    """
    is_known = has_scores(scores)
    for place in (~is_known).nonzero().flatten().tolist():
        pair = {"helpfulness": scores.helpfulness[place], "safety": scores.safety[place]}
        models = [name for name, score in pair.items() if not bool(score.isfinite())]
        note_skipped(
            workspace,
            f"iteration {iteration + 1}: an answer to prompt {prompts[place].id} is left out: no "
            f"finite score by the model of {' and '.join(models)}",
            {"step": iteration, "prompt": prompts[place].id, "no_finite_score_by": models},
        )
    kept = is_known.nonzero().flatten().tolist()
    if len(kept) < 2:
        raise UserError(
            f"iteration {iteration + 1}: of {len(prompts)} answers {len(kept)} have finite scores "
            "by both reward models; train them again"
        )
    if len(kept) < len(prompts):
        parts = (scores.helpfulness, scores.safety, scores.composite)
        scores = CompositeScores(*(part[is_known] for part in parts))
    return [prompts[place] for place in kept], [answers[place] for place in kept], scores


def _note_skipped(
    step: Step, iteration: int, number: int, prompts: Sequence[str], workspace: Workspace
) -> None:
    note_skipped(
        workspace,
        f"iteration {iteration + 1}: update {number + 1} is left out: {step.verdict} (gradients "
        f"{step.grad_norm:.3g} and {step.critic_grad_norm:.3g})",
        {
            "step": iteration,
            "mini_batch": number,
            "verdict": step.verdict,
            "policy_loss": repr(step.policy_loss),
            "value_loss": repr(step.value_loss),
            "grad_norm": repr(step.grad_norm),
            "critic_grad_norm": repr(step.critic_grad_norm),
            "prompts": list(prompts),
        },
    )


def _of_answers(
    answers: Sequence[Answer], scores: CompositeScores, lengths: Tensor
) -> dict[str, float]:
    shares = [repeated_ngram_share(answer.completion.tokens) for answer in answers]
    return {
        "reward": float(scores.composite.mean()),
        "score_helpfulness": float(scores.helpfulness.mean()),
        "score_safety": float(scores.safety.mean()),
        "length": float(lengths.float().mean()),
        "repetition": sum(shares) / len(answers),
        "ended": sum(answer.completion.ended for answer in answers) / len(answers),
    }


def _of_tokens(
    found: Sequence[MiniBatch], num_answers: int, workspace: Workspace
) -> dict[str, float]:
    """KL an answer with its standard error; entropy and the sampler's distance a token.

    `kl` is what the reward bears (k1), `kl_k3` the estimate that cannot be negative.
    """
    parts: list[Old] = [part for batch in found for part in batch.parts]
    sums = [0.0] * 5
    for part in parts:
        of_answers = part.kl.double().sum(1)
        # kl is 0 outside the mask, where k3 is 0 too.
        k3 = kl_k3(part.kl, torch.zeros_like(part.kl))
        summed = (of_answers, of_answers.square(), k3, part.entropy, part.gap)
        sums = [total + float(values.sum()) for total, values in zip(sums, summed, strict=True)]
    kl, squares, k3, entropy, gap = workspace.ranks.sums(sums)
    num_tokens = sum(batch.num_tokens for batch in found)
    return {
        "kl": kl / num_answers,
        "kl_error": standard_error(kl, squares, num_answers),
        "kl_k3": k3 / num_answers,
        "entropy": entropy / num_tokens,
        "sampler_gap": gap / num_tokens,
    }


def _of_updates(
    steps: Sequence[Step], found: Sequence[MiniBatch], ranks: Ranks
) -> dict[str, float]:
    """Means over the updates; of the first one the mean ratio, and the one farthest from 1."""

    def mean(values: Sequence[float]) -> float:
        return sum(values) / len(steps)

    return {
        "clip_share": mean([step.clip_share for step in steps]),
        "ratio_first": steps[0].ratio,
        "ratio_gap": max(ranks.from_shares(steps[0].ratio_gap)),
        "policy_loss": mean([step.policy_loss for step in steps]),
        "value_loss": mean([step.value_loss for step in steps]),
        "grad_norm": mean([step.grad_norm for step in steps]),
        "explained_variance": mean([batch.explained_variance for batch in found]),
        "skipped": float(sum(step.verdict != "ok" for step in steps)),
    }
