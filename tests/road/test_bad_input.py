"""What cannot be trained is refused before the first step, in one line, by real processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from arriero.cli import main
from arriero.road.drive import _first_changed
from arriero.road.lock import locked
from arriero.road.recipe import load_recipe, to_toml
from arriero.road.stations import stations
from tests.evaluation.stub import stubbed

from .conftest import SMALL

RANKS = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]

# A process that may not write where the permissions say so, though it is root's.
NO_OVERRIDE = """
import ctypes, os, sys
DROP, OVERRIDE = 24, 1
ctypes.CDLL(None).prctl(DROP, OVERRIDE, 0, 0, 0)
os.execv(sys.executable, [sys.executable, "-m", "arriero.cli", *sys.argv[1:]])
"""


def told(done: subprocess.CompletedProcess[str]) -> set[str]:
    """The lines of ours; every rank says the same one. torchrun says more than that."""
    assert "arriero/road" not in done.stderr, done.stderr
    return {line for line in done.stderr.splitlines() if line.startswith("arriero: ")}


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(to_toml(load_recipe("tiny", SMALL)))
    return path


def test_what_a_changed_recipe_does_anew_is_checked(tmp_path: Path) -> None:
    """A stage that is done is looked at again once its part of the recipe is another one."""
    before = load_recipe("tiny", SMALL)
    (tmp_path / "recipe.toml").write_text(to_toml(before))
    assert _first_changed(stations(before, tmp_path), tmp_path) == len(stations(before, tmp_path))
    after = stations(load_recipe("tiny", {**SMALL, "sft.rows_per_step": 3}), tmp_path)
    assert after[_first_changed(after, tmp_path)].verb == "sft"
    (tmp_path / "recipe.toml").write_text("of = 'another version'")
    assert _first_changed(after, tmp_path) == 0


def test_a_judge_that_refuses_the_key_is_known_before_the_run(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    with stubbed() as stub:
        stub.say = lambda number, body: (401, {}, b"{}")
        judge = ["--evaluate.judge.url", stub.url, "--evaluate.judge.model", "m"]
        assert main(["run", str(recipe), "--run", str(run), *judge]) == 2
        found = capsys.readouterr().err.splitlines()
        assert found == [
            f"arriero: evaluate.judge: {stub.url}: HTTP 401; check the key; its key stands in "
            "ARRIERO_JUDGE_KEY; without evaluate.judge.url nobody is asked"
        ]
        assert not run.exists()
        asked = len(stub.asked)
        main(["run", str(recipe), "--run", str(run), *judge, "--until", "inputs"])
        assert len(stub.asked) == asked, "who does not come to the evaluation asks nobody"


@pytest.mark.slow
def test_a_batch_that_ranks_cannot_share(recipe: Path, tmp_path: Path) -> None:
    """Every kind of batch is tried in tests/road/plan/test_layout.py."""
    run = tmp_path / "run"
    verb = ["-m", "arriero.cli", "--", "run", str(recipe), "--run", str(run)]
    done = subprocess.run(
        [sys.executable, *RANKS, "2", *verb, "--sft.rows_per_step", "5"],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode
    assert told(done) == {
        "arriero: sft.rows_per_step is 5, which 2 data-parallel ranks cannot share evenly; name "
        "--sft.rows_per_step 4, or do that stage on 1 of them"
    }
    assert not run.exists()


@pytest.mark.slow
def test_folders_that_cannot_be_written_to(recipe: Path, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0o555)
    stage = tmp_path / "run" / "03-sft"
    stage.mkdir(parents=True)
    stage.chmod(0o555)
    for run, words in (
        (closed / "run", f"{closed / 'run'}: not allowed; name another place"),
        (stage.parent, f"{stage} cannot be written to; mend its permissions, or name another"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", NO_OVERRIDE, "run", str(recipe), "--run", str(run)],
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == 2
        (said,) = told(done)
        assert words in said
    assert list(closed.iterdir()) == []
    assert list(stage.parent.iterdir()) == [stage]


def test_two_runs_in_one_folder(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    with locked(run):
        assert main(["run", str(recipe), "--run", str(run)]) == 2
    assert "run: another process works in this run; wait for it" in capsys.readouterr().err
    assert [path.name for path in run.iterdir()] == [".lock"]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Options that name files of one's own, two of them the corpus."""
    monkeypatch.chdir(tmp_path)
    dialogs = [
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    ]
    files = {
        "web": [{"text": f"salt and wool {number} " * 20} for number in range(100)],
        "books": [{"text": f"wool and salt {number}"} for number in range(5)],
        "empty": [],
        "dialogs": dialogs,
        "pairs": [{"prompt": "a", "chosen": "b", "rejected": "c"}],
    }
    for name, rows in files.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    shape = {"vocab_size": 310, "dim": 16, "num_layers": 1, "num_heads": 2, "num_kv_heads": 2}
    shape |= {"ffn_dim": 16}
    options = [word for key, size in shape.items() for word in (f"--model.{key}", str(size))]
    options += "--data.source files --data.instructions dialogs.jsonl --run run".split()
    options += "--data.helpfulness pairs.jsonl --data.safety pairs.jsonl --data.corpus".split()
    return ["run", "tiny", *options]


@pytest.mark.parametrize(
    ("corpus", "weights", "line"),
    [
        (["web", "books"], ["web=1", "book=2"], "no source book; did you mean books?"),
        (["web", "books"], ["web=1"], "no weight for books; give each source"),
        (["web", "books"], ["web=1", "books=0"], "key data.weights.books: Input should be greater"),
        (["web", "books"], ["web=1", "books=-2"], "key data.weights.books: Input should be great"),
        (["web", "books"], ["web", "books=2"], "key data.weights: 'web' is no NAME=NUMBER"),
        (["web", "empty"], ["web=1", "empty=2"], "empty.jsonl"),
        (["web", "books"], ["web=1", "books=2"], "source books has "),
    ],
)
def test_sources_that_cannot_be_read_by_weight(
    own: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    corpus: list[str],
    weights: list[str],
    line: str,
) -> None:
    paths = [f"{name}.jsonl" for name in corpus]
    assert main([*own, *paths, "--data.weights", *weights]) == 2
    error = capsys.readouterr().err
    assert error.startswith("arriero: ")
    assert error.count("\n") == 1
    assert line in error
    assert not list(tmp_path.glob("run/02-pretrain/metrics.jsonl"))
    assert not list(tmp_path.glob("run/02-pretrain/checkpoints"))
