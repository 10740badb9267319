"""kill -9 at random moments, again and again: what a run loses by it.

    python benchmarks/kills.py [--kills 100] [--ranks 1] [--seed 0]

A very small model is pretrained once undisturbed and once killed all the time. Every other kill
waits until a checkpoint is being written, so that writing, renaming and the removal of older ones
are hit often. Of several ranks one is killed, and the others have to end by themselves.

Each life is a process of its own that runs the command line. It is forked from a server which has
imported everything already, so that a hundred of them take minutes.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import re
import resource
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from arriero.cli import main as command_line
from arriero.road.recipe import load_recipe, to_toml

INTERVAL = 5
STAGE = "02-pretrain"
STEPS_A_KILL = 15
SMALL: dict[str, Any] = {
    "threads": 1,
    "device": "cpu",
    "data.world.documents": 300,
    "data.world.demonstrations": 50,
    "data.world.preference_prompts": 50,
    "data.world.comparison_prompts": 50,
    "data.world.policy_prompts": 50,
    "data.world.held_out_prompts": 50,
    "data.world.test_prompts": 50,
    "model.vocab_size": 600,
    "model.dim": 16,
    "model.num_layers": 1,
    "model.num_heads": 2,
    "model.num_kv_heads": 1,
    "model.ffn_dim": 32,
    "pretrain.row_length": 32,
    "pretrain.micro_rows": 2,
    "pretrain.tokens_per_step": 128,
    "pretrain.valid_every": 1_000_000,
    "pretrain.checkpoint_every": INTERVAL,
}


@dataclass
class Outcome:
    """What became of a run that was killed often.

    Attributes:
        kills: how many lives ended by one.
        writing: kills that left a checkpoint half-written.
        removing: kills between the renaming of a checkpoint and the removal of an older one.
        repeated: steps that each life had to do again.
        differing: what is not as in the undisturbed run; empty if all is well.
    """

    kills: int = 0
    writing: int = 0
    removing: int = 0
    repeated: list[int] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)


def write_recipe(folder: Path, num_steps: int, **more: Any) -> Path:
    """The recipe of such a small run, as a file."""
    size = SMALL["pretrain.tokens_per_step"]
    recipe = load_recipe("tiny", SMALL | {"pretrain.num_tokens": num_steps * size} | more)
    path = folder / "small.toml"
    path.write_text(to_toml(recipe), encoding="utf-8")
    return path


def start(
    arguments: Sequence[str], log: Path, ranks: int = 1, most_bytes: int = 0
) -> list[BaseProcess]:
    """The command line in a process of its own for each rank; all write into `log`.

    With `most_bytes`, the system lets the last rank write no file beyond that size.
    """
    context = multiprocessing.get_context("forkserver")
    # torch would import its compiler when the first optimizer is made.
    context.set_forkserver_preload(["arriero.cli", "arriero.road.drive", "torch._dynamo"])
    common = {"WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks), "OMP_NUM_THREADS": "1"}
    if ranks > 1:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        common |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    lives: list[BaseProcess] = []
    for rank in range(ranks):
        own = common | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
        limit = most_bytes if rank == ranks - 1 else 0
        lives.append(context.Process(target=_live, args=(list(arguments), log, own, limit)))
        lives[-1].start()
    return lives


def _live(arguments: list[str], log: Path, environment: dict[str, str], most_bytes: int) -> None:
    os.environ.update(environment)
    if most_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sys.exit(command_line(arguments))


def finish(lives: Sequence[BaseProcess], seconds: float = 240) -> list[int | None]:
    """Exit codes once all have ended; whoever has not by then is killed and has none."""
    deadline = time.monotonic() + seconds
    for life in lives:
        life.join(max(0.0, deadline - time.monotonic()))
    codes = [life.exitcode for life in lives]
    for life in lives:
        life.kill()
        life.join()
    return codes


def kill_often(folder: Path, kills: int, ranks: int = 1, seed: int = 0) -> Outcome:
    """Train once in peace and once with that many kills in between, and compare."""
    recipe = write_recipe(folder, STEPS_A_KILL * kills)
    calm, killed = folder / "calm", folder / "killed"

    def command(run: Path, until: str) -> list[str]:
        return ["run", str(recipe), "--run", str(run), "--until", until]

    log = folder / "log.txt"
    for until in ("tokenizer", "pretrain"):
        codes = finish(start(command(calm, until), log, ranks))
        assert codes == [0] * ranks, log.read_text()
        if until == "tokenizer":
            shutil.copytree(calm, killed)

    draw = random.Random(seed)
    outcome = Outcome()
    steps = 0
    while outcome.kills < kills:
        log = folder / f"life-{outcome.kills}.txt"
        lives = start(command(killed, "pretrain"), log, ranks)
        _wait_for_moment(killed / STAGE, lives, draw, at_save=bool(outcome.kills % 2))
        if any(life.exitcode is not None for life in lives):
            finish(lives)
            outcome.differing.append(f"ended before kill {outcome.kills}: {log.read_text()}")
            return outcome
        draw.choice(lives).kill()
        codes = finish(lives, 60)
        if None in codes:
            outcome.differing.append(f"a rank did not end after kill {outcome.kills}")
        outcome.kills += 1
        if outcome.kills > 1:
            outcome.repeated.append(steps - _went_on_from(log))
        steps = _steps_done(killed / STAGE)
        checkpoints = killed / STAGE / "checkpoints"
        outcome.writing += any(checkpoints.glob(".step-*.tmp"))
        outcome.removing += len(list(checkpoints.glob("step-*"))) > 2
    log = folder / "last.txt"
    codes = finish(start(command(killed, "pretrain"), log, ranks))
    outcome.repeated.append(steps - _went_on_from(log))
    if codes != [0] * ranks:
        outcome.differing.append(log.read_text())
    outcome.differing += _differences(calm / STAGE, killed / STAGE)
    return outcome


def _wait_for_moment(
    stage: Path, lives: Sequence[BaseProcess], draw: random.Random, *, at_save: bool
) -> None:
    """Until some steps are taken and some moments have gone by, or until a checkpoint is begun."""
    metrics = stage / "metrics.jsonl"

    def taken() -> int:
        return metrics.read_bytes().count(b"\n") if metrics.exists() else 0

    def is_over() -> bool:
        return any(life.exitcode is not None for life in lives)

    began = metrics.stat().st_mtime_ns if metrics.exists() else 0
    # Going on, a life first drops the lines of steps that it will do again.
    while not is_over() and (not metrics.exists() or metrics.stat().st_mtime_ns == began):
        time.sleep(0.001)
    enough = taken() + draw.randrange(2 * INTERVAL)
    while not is_over() and taken() < enough:
        time.sleep(0.001)
    while at_save and not is_over() and not any((stage / "checkpoints").glob(".step-*.tmp")):
        pass
    time.sleep(draw.uniform(0.0, 0.02))


def _went_on_from(log: Path) -> int:
    """The step that a life says it begins with; it says nothing where it begins anew."""
    said = re.search(r"going on from step (\d+)", log.read_text(encoding="utf-8"))
    return int(said[1]) if said else 0


def _steps_done(stage: Path) -> int:
    """Steps that a line of the metrics tells of."""
    return 1 + max((step for step, _, _ in _lines(stage)), default=-1)


def _lines(stage: Path) -> list[tuple[int, float, float]]:
    """Step, loss and gradient norm of each line of the metrics."""
    text = (stage / "metrics.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    return [(line["step"], line["loss"], line["grad_norm"]) for line in lines]


def _differences(calm: Path, killed: Path) -> list[str]:
    found: list[str] = []
    weights = [stage / "model" / "model.safetensors" for stage in (calm, killed)]
    if weights[0].read_bytes() != weights[1].read_bytes():
        found.append("the weights")
    if _lines(calm) != _lines(killed):
        found.append("losses and gradients")
    if (killed / "checkpoints").exists():
        found.append("checkpoints that were left")
    return found


def main() -> None:
    """Kill, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="kills-"))
    outcome = kill_often(folder, options.kills, options.ranks, options.seed)
    mean = sum(outcome.repeated) / max(1, len(outcome.repeated))
    print(
        f"{outcome.kills} kills on {options.ranks} rank(s): {outcome.writing} while a checkpoint "
        f"was written, {outcome.removing} between its renaming and the removal of an older one"
    )
    print(
        f"repeated after a kill: {max(outcome.repeated, default=0)} steps at most, {mean:.1f} in "
        f"the mean; a checkpoint every {INTERVAL}"
    )
    if outcome.differing:
        sys.exit(f"not as in the undisturbed run: {'; '.join(outcome.differing)} ({folder})")
    print("weights, losses and gradients are those of the undisturbed run, bit for bit")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
