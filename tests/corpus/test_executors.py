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


def start(recipe: Path, corpus: Path, *keys: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "arriero.cli", "corpus", "build", str(recipe)]
    return subprocess.Popen(
        [*command, "--run", str(corpus), *keys],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env={**os.environ, "RAY_DISABLE_IMPORT_WARNING": "1", "RAY_USAGE_STATS_ENABLED": "0"},
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate(timeout=240)
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
