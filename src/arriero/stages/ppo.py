"""Stage `ppo`: proximal policy optimization against both reward models (section 3.2.3).

Departures, none of them in the paper: k1 KL a token, gamma 1 and lambda 0.95, a separate critic
that starts from the helpfulness model, whitened advantages. Early stopping is the paper's: the
policy that scores best on held-out prompts is the result.

All ranks of a job work on it: models lie in shares, each rank samples some of the prompts from a
whole copy of the policy, and takes its part of each mini-batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import device as Device

from arriero.alignment.scoring import RewardModels
from arriero.data.prompts import read_prompts
from arriero.data.shards import row_order
from arriero.inference.generate import Sampling
from arriero.model.lora import count_trained
from arriero.records import Prompt, Stopped
from arriero.stages.learner import Learner, adapter_learner, full_learner
from arriero.stages.placement import gathered, read_score_model, spread
from arriero.stages.ppo_config import PpoConfig
from arriero.stages.ppo_iteration import iterate, sampled, scored
from arriero.stages.ppo_update import Guards
from arriero.stages.recording import open_meter
from arriero.stages.sampling import ChatModel
from arriero.stages.sft import save_chat_model
from arriero.stages.workspace import Workspace
from arriero.training.checkpoint import load_checkpoint, write_checkpoint
from arriero.training.meters import TimeLeft
from arriero.training.pages import keep_pages
from arriero.training.stopping import StopRequest, stop_requests

__all__ = ["PpoConfig", "run"]


def run(
    config: PpoConfig,
    *,
    start: Path,
    rewards: tuple[Path, Path],
    prompts: Sequence[Path],
    held_out: Sequence[Path],
    workspace: Workspace,
) -> None:
    """Move the policy `start` up the composite reward; the best on held-out prompts is kept.

    SIGTERM and Ctrl-C end it with a checkpoint: at once while answers are sampled, and after the
    iteration under way once that has begun to learn.

    Raises:
        Stopped: the process was asked to stop, and what was learned is in a checkpoint.
        UserError: three updates in a row were not fit to be taken.
    """
    keep_pages()
    ranks = workspace.ranks
    learner, reference, judges = _models(config, start, rewards, workspace)
    usable = reference.fitting(list(read_prompts(prompts)), config.max_new_tokens)
    checked = reference.fitting(list(read_prompts(held_out)), config.max_new_tokens)
    checked = checked[: config.held_out_prompts]
    guards = Guards(config.optimizer.clip)
    modules, optimizers = learner.modules(), learner.optimizers()
    num_samples = min(config.samples, len(usable))
    with stop_requests() as stop:
        state = load_checkpoint(workspace.checkpoints, modules, optimizers, ranks=ranks)
        if state is None:
            begin = _held_out_score(config, learner, judges, checked, workspace, stop)
            state = {"step": 0, "start": begin, "best": begin, "best_iteration": 0}
            workspace.say(f"held-out score at the start {begin:.3f}")
        state = {"stopped": False, "guards": {}} | state
        guards.load_state(state["guards"])

        def save(done: int) -> None:
            state.update(step=done, guards=guards.state())
            write_checkpoint(
                workspace.checkpoints, done, modules, optimizers, state, ranks=ranks
            ).wait()

        left = TimeLeft(config.iterations, state["step"])
        meter = open_meter(workspace, state["step"], config.iterations, "answers", "float32")
        with closing(meter):
            for iteration in range(state["step"], config.iterations):
                if state["stopped"]:
                    break
                chosen = row_order(len(usable), num_samples, iteration, workspace.seed)
                batch = [usable[index] for index in chosen]
                try:
                    figures = iterate(
                        config,
                        learner,
                        reference,
                        judges,
                        batch,
                        iteration,
                        workspace,
                        guards,
                        stop,
                    )
                except Stopped:
                    # Nothing was learned since the last iteration.
                    if iteration > state["step"] or not iteration:
                        save(iteration)
                    raise
                done = iteration + 1
                if done % config.held_out_every == 0 or done == config.iterations:
                    score = _held_out_score(config, learner, judges, checked, workspace)
                    figures["held_out"] = score
                    _keep_best(config, learner, state, done, score)
                meter.write(figures | {"num_steps": config.iterations})
                _say(workspace, figures, config.iterations, left)
                # One rank that was asked is enough, and all leave after the same iteration.
                signal = ranks.most(stop.signal or 0)
                is_last = done == config.iterations or state["stopped"]
                if done % config.checkpoint_every == 0 or is_last or signal:
                    save(done)
                if signal and not is_last:
                    raise Stopped(signal)
    _leave(config, learner, checked, state, workspace)


def _keep_best(
    config: PpoConfig, learner: Learner, state: dict[str, Any], done: int, score: float
) -> None:
    """Keep the policy if none scored better; enough worse scores in a row are the end."""
    if score > state["best"]:
        learner.keep_policy()
        state.update(best=score, best_iteration=done)
    stale = (done - state["best_iteration"]) // config.held_out_every
    state["stopped"] = stale >= config.patience


def _models(
    config: PpoConfig, start: Path, rewards: tuple[Path, Path], workspace: Workspace
) -> tuple[Learner, ChatModel, RewardModels]:
    """What learns, what it must not stray from, what judges: each in shares on the ranks."""
    source, optimizer, critic_peak = config.critic_from, config.optimizer, config.critic_peak
    if not config.lora.rank:
        reference = ChatModel.spread(start, workspace)
        judges = RewardModels.read(
            *rewards, reference.tokenizer, lambda f: read_score_model(f, workspace, "float32")
        )
        learner = full_learner(start, rewards, source, optimizer, critic_peak, workspace)
    else:
        # Whole, so that adapters can stand on them; on ranks where the host has room.
        place = workspace.device if workspace.ranks.mesh is None else Device("cpu")
        reference = ChatModel.load(start, place)
        judges = RewardModels.load(*rewards, reference.tokenizer, place)
        learner = adapter_learner(
            config.lora, reference, judges, source, optimizer, critic_peak, workspace
        )
        workspace.say(f"policy: {count_trained(learner.policy.model)}")
        spread(reference.model, workspace, "float32")
        for judge in (judges.helpfulness, judges.safety):
            spread(judge, workspace, "float32")
    reference.model.requires_grad_(False)
    return learner, reference, judges


def _leave(
    config: PpoConfig,
    learner: Learner,
    checked: Sequence[Prompt],
    state: dict[str, Any],
    workspace: Workspace,
) -> None:
    """Write the best policy and the results."""
    model = gathered(learner.best.model, workspace)
    if model is None:
        return
    best = replace(learner.best, model=model)
    save_chat_model(best.model, best.tokenizer, workspace.model)
    workspace.write_results(
        {
            "iterations": state["step"],
            "best_iteration": state["best_iteration"],
            "held_out_start": state["start"],
            "held_out_best": state["best"],
            "stopped_early": state["stopped"],
            "samples": _examples(config, best, checked[:6], workspace.seed),
        }
    )


def _held_out_score(
    config: PpoConfig,
    learner: Learner,
    judges: RewardModels,
    prompts: Sequence[Prompt],
    workspace: Workspace,
    stop: StopRequest | None = None,
) -> float:
    """Mean composite raw score of one sampled answer to each held-out prompt.

    Raises:
        Stopped: a rank was asked to stop by `stop`.
    """
    policy = learner.policy.whole(workspace)
    answers = sampled(config, policy, prompts, workspace.seed + 7, workspace, stop)
    if workspace.ranks.is_first:
        sample = _examples(config, policy, prompts[:1], workspace.seed)[0]
        workspace.show(sample["prompt"], sample["answer"])
    del policy  # a whole copy, which need not lie beside what scores
    return float(scored(judges, prompts, answers, workspace).composite.mean())


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
