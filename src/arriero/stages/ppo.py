"""Stage `ppo`: proximal policy optimization against both reward models (section 3.2.3).

Departures, none of them in the paper: k1 KL a token, gamma 1 and lambda 0.95, a separate critic
that starts from the helpfulness model, whitened advantages. Early stopping is the paper's: the
policy that scores best on held-out prompts is the result.

A general reward model that neither trains nor chooses watches for reward hacking (section 3.4), and
figures that no healthy run has raise an alarm; see `ppo_alarms`.

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
from arriero.model.lora import count_trained
from arriero.records import Prompt, Stopped
from arriero.stages.learner import Learner, adapter_learner, full_learner
from arriero.stages.placement import gathered, read_score_model, spread
from arriero.stages.ppo_alarms import Check, Watch
from arriero.stages.ppo_config import PpoConfig
from arriero.stages.ppo_held_out import HeldOut, examples, mean_score, read_general
from arriero.stages.ppo_iteration import iterate
from arriero.stages.ppo_update import Guards
from arriero.stages.recording import open_meter
from arriero.stages.sampling import ChatModel
from arriero.stages.sft import save_chat_model
from arriero.stages.workspace import Workspace
from arriero.training.checkpoint import load_checkpoint, write_checkpoint
from arriero.training.meters import TimeLeft
from arriero.training.pages import keep_pages
from arriero.training.stopping import stop_requests

__all__ = ["PpoConfig", "run"]


def run(
    config: PpoConfig,
    *,
    start: Path,
    rewards: tuple[Path, Path],
    prompts: Sequence[Path],
    held_out: Sequence[Path],
    workspace: Workspace,
    general: Path | None = None,
) -> None:
    """Move the policy `start` up the composite reward; the best on held-out prompts is kept.

    Args:
        start: folder of the chat model; where the policy starts and what it must not stray from.
        rewards: folders of the helpfulness and the safety model.
        prompts: files of what answers are sampled to.
        held_out: files of prompts for early stopping.
        general: folder of a reward model that judges the answers to them beside the others.

    SIGTERM and Ctrl-C end it with a checkpoint: at once while answers are sampled, and after the
    iteration under way once that has begun to learn.

    Raises:
        Stopped: the process was asked to stop, and what was learned is in a checkpoint.
        UserError: three updates in a row were not fit to be taken, or answers have no finite
            scores.
    """
    keep_pages()
    ranks = workspace.ranks
    learner, reference, judges = _models(config, start, rewards, workspace)
    usable, too_long = _fitting(config, reference, prompts, workspace)
    checked, _ = _fitting(config, reference, held_out, workspace)
    judge = None if general is None else read_general(general, reference.tokenizer, workspace)
    held = HeldOut(checked[: config.held_out_prompts], judges, judge)
    guards, watch = Guards(config.optimizer.clip), Watch(config.gap_precision)
    modules, optimizers = learner.modules(), learner.optimizers()
    num_samples = min(config.samples, len(usable))
    with stop_requests() as stop:
        state = load_checkpoint(workspace.checkpoints, modules, optimizers, ranks=ranks)
        if state is None:
            check = held.check(config, learner, workspace, stop)
            watch.check(check)
            state = _begun(check, watch)
            workspace.say(f"held-out score at the start {state['start']:.3f}")
        state = {"stopped": False, "guards": {}, "watch": {}, "general": [None] * 2} | state
        guards.load_state(state["guards"])
        watch.load_state(state["watch"])

        def save(done: int) -> None:
            state.update(step=done, guards=guards.state(), watch=watch.state())
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
                    check = held.check(config, learner, workspace)
                    watch.check(check)
                    figures |= _figures(check)
                    _keep_best(config, learner, state, done, figures)
                _alarm(watch, figures, config.held_out_every, workspace)
                meter.write(figures | {"num_steps": config.iterations})
                _say(workspace, figures, config.iterations, left)
                # One rank that was asked is enough, and all leave after the same iteration.
                signal = ranks.most(stop.signal or 0)
                is_last = done == config.iterations or state["stopped"]
                if done % config.checkpoint_every == 0 or is_last or signal:
                    save(done)
                if signal and not is_last:
                    raise Stopped(signal)
    _leave(config, learner, held, state, watch, too_long, workspace)


def _fitting(
    config: PpoConfig, model: ChatModel, files: Sequence[Path], workspace: Workspace
) -> tuple[list[Prompt], int]:
    """The prompts of files that leave room for an answer, and how many do not."""
    prompts = list(read_prompts(files))
    usable = model.fitting(prompts, config.max_new_tokens)
    too_long = len(prompts) - len(usable)
    if too_long:
        workspace.say(
            f"{too_long} of {len(prompts)} prompts are left out: they leave no room for "
            f"{config.max_new_tokens} tokens"
        )
    return usable, too_long


def _figures(check: Check) -> dict[str, float]:
    """Means of a check on held-out prompts."""
    figures = {"held_out": mean_score(check.composite)}
    if any(score is not None for score in check.general):
        figures["held_out_general"] = mean_score(check.general)
    return figures


def _begun(check: Check, watch: Watch) -> dict[str, Any]:
    """The state before the first iteration."""
    figures = _figures(check)
    start = figures["held_out"]
    return {
        "step": 0,
        "start": start,
        "best": start,
        "best_iteration": 0,
        # Of the general model, where there is one, at the start and of what is kept.
        "general": [figures.get("held_out_general")] * 2,
        "watch": watch.state(),
    }


def _keep_best(
    config: PpoConfig,
    learner: Learner,
    state: dict[str, Any],
    done: int,
    figures: dict[str, float],
) -> None:
    """Keep the policy if none scored better; enough worse scores in a row are the end."""
    if figures["held_out"] > state["best"]:
        learner.keep_policy()
        state.update(best=figures["held_out"], best_iteration=done)
        state["general"][1] = figures.get("held_out_general")
    stale = (done - state["best_iteration"]) // config.held_out_every
    state["stopped"] = stale >= config.patience


def _alarm(
    watch: Watch, figures: dict[str, Any], held_out_every: int, workspace: Workspace
) -> None:
    """Say what is wrong when it begins, and as long as it lasts keep its name in the figures."""
    before = {name: found["last"] for name, found in watch.found.items()}
    # The general reward model is asked at checks alone.
    since = {"reward": held_out_every}
    alarms = watch.alarms(figures)
    if alarms:
        figures["alarms"] = sorted(alarms)
    for name, line in alarms.items():
        if before.get(name, -1) < figures["iteration"] - since.get(name, 1):
            workspace.say(f"ALARM ({name}): {line}")


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
    held: HeldOut,
    state: dict[str, Any],
    watch: Watch,
    too_long: int,
    workspace: Workspace,
) -> None:
    """Write the best policy and the results."""
    model = gathered(learner.best.model, workspace)
    if model is None:
        return
    best = replace(learner.best, model=model)
    save_chat_model(best.model, best.tokenizer, workspace.model)
    general = {}
    if held.general is not None:
        general = dict(zip(("general_start", "general_best"), state["general"], strict=True))
    workspace.write_results(
        {
            "iterations": state["step"],
            "best_iteration": state["best_iteration"],
            "held_out_start": state["start"],
            "held_out_best": state["best"],
            **general,
            "stopped_early": state["stopped"],
            "prompts_too_long": too_long,
            "alarms": watch.found,
            "samples": examples(config, best, held.prompts[:6], workspace.seed),
        }
    )


def _say(workspace: Workspace, figures: dict[str, Any], iterations: int, left: TimeLeft) -> None:
    held_out = f"  held out {figures['held_out']:.3f}" if "held_out" in figures else ""
    workspace.say(
        f"iteration {figures['iteration']}/{iterations}  reward {figures['reward']:.3f}  "
        f"KL {figures['kl']:.3f}  length {figures['length']:.1f}{held_out}  "
        f"{left.after(figures['iteration'])}"
    )
