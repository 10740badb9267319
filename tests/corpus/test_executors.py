"""The same bytes from every executor, from several nodes, and after kills at every stage."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from arriero.corpus import reading
from arriero.corpus.recipe import recipe_text
from tests.corpus.conftest import prose, recipe_of, write_lines

pytestmark = pytest.mark.slow

STAGES = (
    "01-clean 02-signatures 03-exact 04-bands 05-candidates 06-decide 07-documents 08-tokenizer "
    "09-tokens 10-shards"
).split()


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three sources of several units each, with copies across them."""
    folder, rng = tmp_path_factory.mktemp("dumps"), random.Random(0)
    texts = [prose(rng) for _ in range(60)]
    sources = {}
    for source in ("a", "b", "c"):
        for number in range(3):
            rows = [{"text": text} for text in rng.sample(texts, 20)]
            rows += [{"text": f"{text} one more"} for text in rng.sample(texts, 5)]
            write_lines(folder / source / f"{number}.jsonl", rows)
        sources[source] = {"paths": [str(folder / source)]}
    path = folder / "r.toml"
    built = recipe_of(sources, unit_megabytes=0.001, tokenizer={"vocab_size": 320})
    path.write_text(recipe_text(built))
    return path


def start(
    recipe: Path, corpus: Path, *keys: str, path: Path | None = None
) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "arriero.cli", "corpus", "build", str(recipe)]
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    if path is not None:
        environment["PATH"] = f"{path}:{environment['PATH']}"
    return subprocess.Popen(
        [*command, "--run", str(corpus), *keys],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env=environment,
    )  # fmt: skip


def said_by(process: subprocess.Popen[str], seconds: float) -> str:
    """What it says until it ends; what hangs is ended with all that it started."""
    try:
        return process.communicate(timeout=seconds)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise


def finish(process: subprocess.Popen[str]) -> str:
    said = said_by(process, 240)
    assert process.returncode == 0, said
    return said


def bytes_of(corpus: Path) -> str:
    """One hash over names and bytes of all that readers of a corpus read."""
    digest = hashlib.sha256(reading.read_build(corpus)["hash"].encode())
    for part in (reading.DOCUMENTS, reading.REMOVED, reading.TOKENS):
        for path in sorted((corpus / part).rglob("*")):
            if path.is_file():
                digest.update(str(path.relative_to(corpus)).encode() + path.read_bytes())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def expected(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    corpus = tmp_path_factory.mktemp("one") / "corpus"
    finish(start(recipe, corpus))
    facts = reading.read_build(corpus)
    rules = {rule for source in facts["sources"].values() for rule in source["removed"]}
    assert {"exact_duplicate", "near_duplicate"} <= rules
    return bytes_of(corpus)


def test_two_workers_and_many_tasks(recipe: Path, expected: str, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    finish(start(recipe, corpus, "--executor.workers", "2", "--executor.tasks", "7"))
    assert bytes_of(corpus) == expected


def test_two_nodes(recipe: Path, expected: str, tmp_path: Path) -> None:
    """Two processes that share a folder, each with its half of the tasks."""
    corpus = tmp_path / "corpus"
    nodes = [
        start(recipe, corpus, "--executor.nodes", "2", "--executor.node", str(node),
              "--executor.tasks", "4")
        for node in range(2)
    ]  # fmt: skip
    for node in nodes:
        finish(node)
    assert bytes_of(corpus) == expected


def test_a_unit_that_fails_on_one_node_ends_the_others(tmp_path: Path) -> None:
    """Also one that comes later: it does not take back what the first one has said."""
    dumps = tmp_path / "dumps"
    rng = random.Random(1)
    for name in ("0", "1"):
        write_lines(dumps / f"{name}.jsonl", [{"text": prose(rng)}])
    (dumps / "0.jsonl").write_text("no JSON\n")
    path = tmp_path / "r.toml"
    sources = {"a": {"paths": [str(dumps)]}}
    path.write_text(recipe_text(recipe_of(sources, unit_megabytes=0.0001, strict=True)))
    corpus = tmp_path / "corpus"
    keys = ("--executor.nodes", "2", "--executor.tasks", "2", "--executor.node")
    first = start(path, corpus, *keys, "0")
    error = corpus / "01-clean" / "errors" / "a" / "00000.json"
    while first.poll() is None and not error.exists():
        time.sleep(0.01)
    second = start(path, corpus, *keys, "1")
    for node in (first, second):
        assert "0.jsonl:1: not JSON" in said_by(node, 60)
        assert node.returncode == 2


def test_ray(recipe: Path, expected: str, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    finish(start(recipe, corpus, "--executor.kind", "ray", "--executor.workers", "2"))
    assert bytes_of(corpus) == expected


def test_killed_at_every_stage(recipe: Path, expected: str, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    killed = []
    for stage in STAGES:
        process = start(recipe, corpus, "--executor.workers", "2", "--executor.tasks", "4")
        plan = corpus / stage / "plan.json"
        while process.poll() is None and not plan.exists():
            time.sleep(0.002)
        if process.poll() is None:
            killed.append(stage)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        # No final name holds half a file: what the readers would open is not there yet.
        assert not (corpus / reading.BUILD).exists()
    assert killed == STAGES
    finish(start(recipe, corpus))
    assert bytes_of(corpus) == expected
    assert not list(corpus.rglob("*.tmp"))


def test_a_killed_worker_is_said_in_a_line(recipe: Path, expected: str, tmp_path: Path) -> None:
    """As the system does when memory is short; a pool by itself would wait for it for ever."""
    corpus = tmp_path / "corpus"
    process = start(recipe, corpus, "--executor.workers", "2")
    running = corpus / "01-clean" / ".log" / "running"
    killed = False
    while process.poll() is None and not killed:
        for sign in running.glob("*"):
            if pid := sign.read_text() if sign.exists() else "":
                os.kill(int(pid), signal.SIGKILL)
                killed = True
                break
    said = said_by(process, 60)
    assert killed
    assert process.returncode == 2
    assert said.splitlines()[-1].startswith("arriero: a worker was killed")
    finish(start(recipe, corpus))
    assert bytes_of(corpus) == expected


def members(group: int) -> list[int]:
    """The processes of a process group that still run."""
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, pgrp, *_ = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(pgrp) == group and state != "Z":
            found.append(int(path.parent.name))
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
@pytest.mark.parametrize("stage", ["01-clean", "04-bands", "09-tokens"])
def test_nothing_outlives_a_killed_build(recipe: Path, tmp_path: Path, stage: str) -> None:
    """The driver alone is killed: its manager, its pool and what serves them end by themselves."""
    corpus = tmp_path / "corpus"
    process = start(recipe, corpus, "--executor.workers", "2", "--executor.tasks", "4")
    while process.poll() is None and not list((corpus / stage).glob(".log/running/*")):
        time.sleep(0.002)
    assert len(members(process.pid)) > 2
    process.kill()
    process.wait()
    until = time.monotonic() + 20
    while (left := members(process.pid)) and time.monotonic() < until:
        time.sleep(0.05)
    if left:
        os.killpg(process.pid, signal.SIGKILL)
    assert not left
    process.communicate()


# What the four commands of a cluster do, on this machine: no queue, one task after another.
SBATCH = """#!/bin/sh
for word; do script=$word; done
for array in $(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' "$script"); do
  for task in $(seq 0 "$array"); do
    SLURM_NODELIST=localhost SLURM_CPUS_PER_TASK=1 SLURM_MEM_PER_CPU=1024 \\
      SLURM_ARRAY_TASK_ID=$task RUN_OFFSET=0 bash "$script" >> "$0.log" 2>&1
  done
done
echo "Submitted batch job 7"
"""
SRUN = """#!/bin/sh
while [ "${1#-}" != "$1" ]; do [ "$1" = -n ] && shift; shift; done
exec "$@"
"""
SQUEUE = "#!/bin/sh\necho slurm_load_jobs error: Invalid job id specified >&2\nexit 1\n"
SCONTROL = "#!/bin/sh\necho localhost\n"
COMMANDS = {"sbatch": SBATCH, "srun": SRUN, "squeue": SQUEUE, "scontrol": SCONTROL}


def test_slurm(recipe: Path, expected: str, tmp_path: Path) -> None:
    """By stand-ins for the cluster's commands; what they run is datatrove's script of a job."""
    folder, corpus = tmp_path / "bin", tmp_path / "corpus"
    folder.mkdir()
    for name, text in COMMANDS.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    (folder / "launch_pickled_pipeline").write_text(
        f"#!{sys.executable}\nfrom datatrove.tools.launch_pickled_pipeline import main\nmain()\n"
    )
    (folder / "launch_pickled_pipeline").chmod(0o755)
    keys = ("--executor.kind", "slurm", "--executor.slurm.partition", "p", "--executor.tasks", "2")
    finish(start(recipe, corpus, *keys, path=folder))
    assert bytes_of(corpus) == expected
    # Two tasks of each of seven stages, one of the three that have a single unit.
    assert (folder / "sbatch.log").read_text().count("Starting data processing job") == 17


def test_a_scheduler_too_busy_to_answer_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from arriero.corpus import executors
    from arriero.records import UserError

    squeue, count = tmp_path / "squeue", tmp_path / "count"
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(executors, "_SQUEUE_SECONDS", 0.0)
    busy = f"#!/bin/sh\necho x >> {count}\n[ $(wc -l < {count}) -gt 3 ] && echo 7 RUNNING && exit\n"
    squeue.write_text(f"{busy}echo Socket timed out >&2\nexit 1\n")
    squeue.chmod(0o755)
    assert executors._is_queued("7")
    squeue.write_text("#!/bin/sh\necho Socket timed out >&2\nexit 1\n")
    with pytest.raises(UserError, match=r"squeue does not answer \(Socket timed out\)"):
        executors._is_queued("7")
    squeue.write_text(SQUEUE)
    assert not executors._is_queued("7")


def test_no_cluster_is_said_in_a_line(recipe: Path, tmp_path: Path) -> None:
    keys = ("--executor.kind", "slurm", "--executor.slurm.partition", "p")
    process = start(recipe, tmp_path / "corpus", *keys)
    said = said_by(process, 60)
    assert process.returncode == 2
    assert "there is no sbatch on this machine" in said.splitlines()[-1]
