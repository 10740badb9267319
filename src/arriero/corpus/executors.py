"""Runs the units of a stage on datatrove's executors: here, on Ray, on Slurm, on several nodes.

datatrove marks tasks that ended, whatever they left, and skips them when another number of tasks
is asked for; so its marks are not used: a unit stands by its own marker (`stages.do_unit`). A unit
belongs to task `position % tasks`, and its result does not depend on which task that is.
"""

from __future__ import annotations

import ctypes
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("DATATROVE_COLORIZE_LOGS", "0")

from datatrove.executor import (
    LocalPipelineExecutor,
    RayPipelineExecutor,
    SlurmPipelineExecutor,
)
from datatrove.pipeline.base import PipelineStep
from loguru import logger

from arriero.corpus.config import CorpusRecipe, ExecutorConfig
from arriero.corpus.stages import Context, Stage, do_unit, failure_of, is_standing
from arriero.corpus.storage import read_json
from arriero.records import UserError

_POLL_SECONDS = 0.2
_WATCH_SECONDS = 0.5
# In the log's folder: which process does which task.
_RUNNING = "running"
# A shared file system may show late what another machine wrote.
_SHARED_SECONDS = 30.0
_SQUEUE_TRIES, _SQUEUE_SECONDS = 20, 15.0


class Units(PipelineStep):
    """The step of datatrove's pipeline: the units of one task."""

    type = "arriero"

    def __init__(self, context: Context, stage: Stage, log: Path) -> None:
        self.name = self.stage = stage.name
        super().__init__()
        self.root, self.log = str(context.root), str(log)
        self.recipe, self.work = context.recipe.model_dump(), stage.work
        # The process whose pool it goes to; 0 where something else looks after workers.
        self.driver = os.getpid() if context.recipe.executor.kind == "local" else 0

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Any:
        """Do the task's units; a unit that fails says so in a file and does not stop the others."""
        context = Context(Path(self.root), CorpusRecipe.model_validate(self.recipe))
        keys = read_json(context.root / self.stage / "plan.json")["keys"]
        sign = Path(self.log, _RUNNING, str(rank))
        sign.parent.mkdir(parents=True, exist_ok=True)
        sign.write_text(str(os.getpid()), encoding="utf-8")
        for name in list(keys)[rank::world_size]:
            do_unit(context, name, keys[name], self.stage, self.work)
        sign.unlink(missing_ok=True)
        return data

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Runs in a worker before its task does: the executor's own log stays out of the terminal.
        logger.disable("datatrove")
        vars(self).update(state)
        if self.driver not in (0, os.getpid()):
            _end_with_parent()


def execute(context: Context, stage: Stage) -> None:
    """Do a stage's units on the recipe's executor, and wait until all are done or given up.

    Raises:
        UserError: the executor is not to be had.
    """
    config = context.recipe.executor
    logger.disable("datatrove")
    log = context.root / stage.name / (f".log-{config.node}" if config.nodes > 1 else ".log")
    step = Units(context, stage, log)
    tasks = min(config.num_tasks, len(stage.keys))
    if config.kind == "ray":
        _on_ray(step, config, tasks, log)
    elif config.kind == "slurm":
        _on_slurm(step, config, tasks, log)
    else:
        _forget_failures(context, stage, tasks)
        _here(step, config, tasks, log)
    if config.nodes > 1 or config.kind == "slurm":
        seconds = config.node_timeout if config.nodes > 1 else _SHARED_SECONDS
        num = _await(context, stage, seconds)
        if num and config.nodes > 1:
            raise UserError(
                f"{stage.name}: {num} units of other nodes are not done after {seconds:g} s; see "
                f"that all {config.nodes} nodes run"
            )
        if num:
            return  # the log stays, to see what became of them
    shutil.rmtree(log, ignore_errors=True)


def _own_tasks(config: ExecutorConfig, tasks: int) -> range:
    """Those that this node does."""
    return range(tasks * config.node // config.nodes, tasks * (config.node + 1) // config.nodes)


def _forget_failures(context: Context, stage: Stage, tasks: int) -> None:
    """Of units that this node is about to do; those of others may be of this very build."""
    own = _own_tasks(context.recipe.executor, tasks)
    for position, name in enumerate(stage.keys):
        if position % tasks in own:
            path = context.root / stage.name / "errors" / f"{name}.json"
            path.unlink(missing_ok=True)


def _here(step: Units, config: ExecutorConfig, tasks: int, log: Path) -> None:
    own = _own_tasks(config, tasks)
    if not own:
        return
    executor = LocalPipelineExecutor(
        [step],
        tasks=tasks,
        workers=min(config.workers, len(own)),
        local_tasks=len(own),
        local_rank_offset=own.start,
        logging_dir=_fresh(log),
        skip_completed=False,
    )
    with _watched(log / _RUNNING), _children_end_with_us():
        executor.run()


@contextmanager
def _watched(running: Path) -> Iterator[None]:
    """End the wait for a worker that was killed: its pool would wait for it for ever.

    Raises:
        UserError: a worker is gone in the midst of its task.
    """
    done, lost = threading.Event(), threading.Event()

    def watch() -> None:
        while not done.wait(_WATCH_SECONDS):
            if any(_is_gone(sign) for sign in running.glob("*")):
                lost.set()
                # A real signal, to that thread: nothing else ends its waiting for a lock.
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                return

    watcher = threading.Thread(target=watch, daemon=True)
    if threading.current_thread() is threading.main_thread():
        watcher.start()
    try:
        yield
    except KeyboardInterrupt:
        if not lost.is_set():
            raise
        raise UserError(
            "a worker was killed, maybe for want of memory; the same command goes on where it "
            "was, and fewer executor.workers need less"
        ) from None
    finally:
        done.set()


_children_are_ours = False


@contextmanager
def _children_end_with_us() -> Iterator[None]:
    """Processes that are forked meanwhile end when this one does, after a kill -9 too."""
    global _children_are_ours
    _children_are_ours = True
    try:
        yield
    finally:
        _children_are_ours = False


def _after_fork() -> None:
    if _children_are_ours:
        _end_with_parent()


os.register_at_fork(after_in_child=_after_fork)


def _end_with_parent() -> None:
    """Have Linux kill this process when the one that started it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _is_gone(sign: Path) -> bool:
    try:
        os.kill(int(sign.read_text(encoding="utf-8") or os.getpid()), 0)
    except ProcessLookupError:
        return sign.exists()  # not one that ended its task meanwhile
    except (OSError, ValueError):
        pass
    return False


def _on_ray(step: Units, config: ExecutorConfig, tasks: int, log: Path) -> None:
    try:
        import ray
    except ImportError:
        raise UserError("executor ray needs ray; install it with pip install ray") from None
    if not ray.is_initialized():
        ray.init(
            address=config.ray_address or None,
            num_cpus=None if config.ray_address else config.workers,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    RayPipelineExecutor(
        [step],
        tasks=tasks,
        workers=config.workers,
        logging_dir=_fresh(log),
        skip_completed=False,
        mem_per_cpu_gb=0.25,
    ).run()


class _Slurm(SlurmPipelineExecutor):
    """Without the job that adds up datatrove's own counts: ours stand beside the units."""

    def launch_merge_stats(self) -> None:
        pass


def _on_slurm(step: Units, config: ExecutorConfig, tasks: int, log: Path) -> None:
    if shutil.which("sbatch") is None:
        raise UserError("executor slurm: there is no sbatch on this machine; start it on a node "
                        "of the cluster")  # fmt: skip
    job = _Slurm(
        [step],
        tasks=tasks,
        workers=config.workers,
        time=config.slurm.time,
        partition=config.slurm.partition,
        mem_per_cpu_gb=config.slurm.memory_gb,
        env_command=config.slurm.environment,
        job_name=f"arriero-{step.stage}",
        logging_dir=_fresh(log),
        skip_completed=False,
        qos="",
    )
    job.run()
    while _is_queued(str(job.job_id)):
        time.sleep(config.slurm.poll_seconds)


def _is_queued(job: str) -> bool:
    """Whether Slurm still knows of tasks of the job that have not ended.

    A scheduler that is too busy to answer is asked again: only its word ends the wait.

    Raises:
        UserError: it has not answered for a long time.
    """
    why = ""
    for _ in range(_SQUEUE_TRIES):
        done = subprocess.run(
            ["squeue", "--noheader", "--jobs", job], capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            return bool(done.stdout.strip())
        if "invalid job id" in done.stderr.lower():
            return False  # it forgets a job some minutes after its end
        why = done.stderr.strip() or f"it ended with {done.returncode}"
        time.sleep(_SQUEUE_SECONDS)
    raise UserError(
        f"squeue does not answer ({why}); the job {job} may still be at work: give the same "
        "command again when it does"
    )


def _await(context: Context, stage: Stage, seconds: float) -> int:
    """Wait until all units stand or have failed; how many have done neither when time is up."""
    folder, until = context.root / stage.name, time.monotonic() + seconds
    waiting = dict(stage.keys)
    while True:
        waiting = {
            name: key
            for name, key in waiting.items()
            if failure_of(folder, name, key) is None
            and is_standing(folder / "units" / f"{name}.json", key, context.root) is None
        }
        if not waiting or time.monotonic() > until:
            return len(waiting)
        time.sleep(_POLL_SECONDS)


def _fresh(folder: Path) -> str:
    """An empty folder for an executor's log."""
    shutil.rmtree(folder, ignore_errors=True)
    return str(folder)
