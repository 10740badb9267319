"""`arriero run`: the stages of a recipe in order, each skipped when its manifest still matches."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from arriero._version import __version__
from arriero.equations.carbon import co2_tonnes, energy_kwh
from arriero.records import UserError
from arriero.road.manifest import (
    FILES,
    Manifest,
    hash_outputs,
    is_intact,
    read_manifest,
    stage_key,
    write_manifest,
)
from arriero.road.recipe import Recipe, to_toml
from arriero.stages.workspace import (
    ALONE,
    Ranks,
    Workspace,
    clear_checkpoints,
    is_lost_rank,
    memory_peak,
    missing_ranks,
    write_json,
)

Say = Callable[[str], None]


@dataclass(frozen=True)
class Step:
    """One stage of a run.

    Attributes:
        name: its folder in the run, such as `05-reward-helpfulness-v1`.
        verb: the command that runs it alone.
        config: everything of the recipe that its result follows from.
        needs: names of the earlier steps whose outputs it reads.
        external: gives a hash of the files it reads from outside the run; "" for none.
        run: does the work in a workspace.
        is_parallel: whether all ranks of a job do it together; else the first does it alone.
        mend: makes again, in the workspace of the finished stage, what of it is no longer whole and
            takes no more than its inputs; nothing for a stage that has nothing of the kind.
    """

    name: str
    verb: str
    config: Any
    needs: tuple[str, ...]
    run: Callable[[Workspace], None]
    external: Callable[[], str] = lambda: ""
    is_parallel: bool = False
    mend: Callable[[Workspace], None] | None = None


def run_steps(
    steps: Sequence[Step],
    recipe: Recipe,
    run: Path,
    say: Say,
    *,
    only: Sequence[str] | None = None,
    ranks: Ranks = ALONE,
) -> list[str]:
    """Bring every step up to date; returns the names of those that had to run.

    Args:
        steps: in order.
        recipe: the resolved recipe; it is written into the run once a step has to run.
        run: the run's folder.
        say: prints a line.
        only: names of the steps that may run; any other must be up to date already.
        ranks: the processes of this job, which all call this.

    Raises:
        UserError: a step that may not run is not up to date, or a rank was lost.
    """
    device = choose_device(recipe)
    torch.set_num_threads(recipe.threads or _threads_a_rank())
    if not ranks.is_first:
        _follow(steps, recipe, run, device, ranks)
        return []
    manifests: dict[str, Manifest] = {}
    done: list[str] = []
    is_over = False
    for step in steps:
        if is_over:
            ranks.agreed(False)
            continue
        folder = run / step.name
        inputs = {name: manifests[name].key for name in step.needs}
        if external := step.external():
            inputs[FILES] = external
        key = stage_key(step.name, __version__, recipe.seed, step.config, inputs)
        manifest = read_manifest(folder)
        is_same = manifest is not None and manifest.key == key
        if manifest is not None and is_same and _is_whole(step, recipe, folder, manifest, say):
            clear_checkpoints(folder / "checkpoints")
            manifests[step.name] = manifest
            ranks.agreed(False)
            continue
        if is_same:
            say(f"[{step.name}] a file is no longer what this stage left; it is made again")
        if only is not None and step.name not in only and done:
            # The first stage of that name is done; those of later versions need more than it.
            is_over = True
            ranks.agreed(False)
            continue
        if only is not None and step.name not in only:
            raise UserError(f"{run}: {step.name} is not up to date; run `arriero run` first")
        if not done:
            run.mkdir(parents=True, exist_ok=True)
            (run / "recipe.toml").write_text(to_toml(recipe), encoding="utf-8")
        manifests[step.name] = _run_step(step, recipe, folder, key, inputs, device, ranks, say)
        done.append(step.name)
    return done


def _is_whole(step: Step, recipe: Recipe, folder: Path, manifest: Manifest, say: Say) -> bool:
    """Whether a finished stage still has what it left, mended where that spares doing it again."""
    if is_intact(folder, manifest):
        return True
    if step.mend is None:
        return False
    device = choose_device(recipe)
    step.mend(_workspace(recipe, folder, device, ALONE, lambda line: say(f"[{step.name}] {line}")))
    return is_intact(folder, manifest)


def _follow(
    steps: Sequence[Step], recipe: Recipe, run: Path, device: torch.device, ranks: Ranks
) -> None:
    """What a rank does that is not the first: its part of parallel steps, and nothing else."""
    for step in steps:
        with _naming_lost_ranks(step, ranks):
            if not ranks.agreed(False):
                continue
            if step.is_parallel:
                torch.manual_seed(recipe.seed)
                step.run(_workspace(recipe, run / step.name, device, ranks, say_nothing))
            ranks.wait()


@contextmanager
def _naming_lost_ranks(step: Step, ranks: Ranks) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if ranks.mesh is None or not is_lost_rank(error):
            raise
        missing = missing_ranks(ranks)
        lost = f"rank {', '.join(map(str, missing))}" if missing else "a rank"
        raise UserError(
            f"[{step.name}] rank {ranks.number} waits for {lost}, gone or hanging; give the same "
            "command again: it goes on from the last checkpoint"
        ) from error


def _workspace(
    recipe: Recipe, folder: Path, device: torch.device, ranks: Ranks, say: Say
) -> Workspace:
    return Workspace(
        folder,
        recipe.seed,
        device,
        say,
        ranks,
        recipe.figures,
        recipe.watts,
        recipe.carbon_intensity,
    )


def say_nothing(_: str) -> None:
    """What a rank that is not the first says."""


def choose_device(recipe: Recipe) -> torch.device:
    """The recipe's device, or the best there is."""
    has_cuda = torch.cuda.is_available()
    if recipe.device == "cuda" and not has_cuda:
        raise UserError("device = cuda, but PyTorch sees no CUDA device; say --device cpu")
    return torch.device("cuda" if recipe.device != "cpu" and has_cuda else "cpu")


def _run_step(
    step: Step,
    recipe: Recipe,
    folder: Path,
    key: str,
    inputs: dict[str, str],
    device: torch.device,
    ranks: Ranks,
    say: Say,
) -> Manifest:
    """Run one step, going on where the same step was stopped."""
    began_before = _prepare_folder(folder, key)
    say(f"[{step.name}] " + ("going on" if began_before else "starting"))
    began = time.perf_counter()
    torch.manual_seed(recipe.seed)
    at_work = ranks if step.is_parallel else replace(ranks, mesh=None, patient=None)
    workspace = _workspace(
        recipe, folder, device, at_work, lambda line: say(f"[{step.name}] {line}")
    )
    spent_before = _seconds_spent(folder)
    ranks.agreed(True)
    try:
        with _naming_lost_ranks(step, ranks):
            step.run(workspace)
            ranks.wait()
    finally:
        seconds = spent_before + time.perf_counter() - began
        with suppress(OSError):  # what stopped the stage matters more than for how long it ran
            write_json(folder / "started.json", {"key": key, "seconds": seconds})
    peak = memory_peak(torch.device("cpu")) / 1e9
    device_hours = at_work.size * seconds / 3600
    energy = energy_kwh(device_hours, recipe.watts)
    manifest = Manifest(
        stage=step.name,
        version=__version__,
        seed=recipe.seed,
        key=key,
        inputs=inputs,
        outputs=hash_outputs(folder),
        seconds=seconds,
        watts=recipe.watts,
        energy_wh=energy * 1e3,
        co2_g=co2_tonnes(device_hours, recipe.watts, recipe.carbon_intensity) * 1e6,
        peak_memory_gb=peak,
    )
    write_manifest(folder, manifest)
    # Not before: a kill while the outputs are hashed must not cost the whole stage.
    clear_checkpoints(folder / "checkpoints")
    say(f"[{step.name}] done in {seconds:.0f} s, {peak:.1f} GB at most so far")
    return manifest


def _threads_a_rank() -> int:
    """The cores that this process may use, shared among the ranks of torchrun on this machine."""
    # Linux alone says which cores a process was given.
    may_use = getattr(os, "sched_getaffinity", None)
    cores = len(may_use(0)) if may_use else os.cpu_count() or 1
    return max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def _prepare_folder(folder: Path, key: str) -> bool:
    """Keep what the same step left when it was stopped; clear what another one left."""
    started = folder / "started.json"
    same = started.exists() and f'"{key}"' in started.read_text(encoding="utf-8")
    if not same or (folder / "manifest.json").exists():
        forget(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if not started.exists():
        write_json(started, {"key": key, "seconds": 0.0})
        return False
    return True


def forget(folder: Path) -> None:
    """Remove what a stage left; a kill on the way leaves nothing that it would go on from."""
    (folder / "started.json").unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _seconds_spent(folder: Path) -> float:
    return float(json.loads((folder / "started.json").read_text(encoding="utf-8"))["seconds"])
