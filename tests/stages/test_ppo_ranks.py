"""PPO and rejection sampling on several ranks do what one does: real processes, gloo on the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from arriero.data.dialogs import read_dialogs
from arriero.data.writing import write_dialogs, write_prompts
from arriero.model.weights import (
    load_language_model,
    load_score_model,
    save_language_model,
    save_score_model,
)
from arriero.records import Dialog, Message, Prompt
from arriero.tokenizer.load import load_tokenizer
from tests.inference.vllm_server import nobody, standing_in

from .conftest import WORDS

JOB = Path(__file__).parent / "jobs" / "policies.py"
pytestmark = pytest.mark.slow

# What is sampled before the first update, and what follows from it without one.
OF_ROLLOUTS = ("reward", "score_helpfulness", "score_safety", "length", "repetition", "ended", "kl")
OF_UPDATES = ("policy_loss", "value_loss", "grad_norm", "explained_variance", "entropy")


class Jobs:
    """Starts the stages on ranks, with the same models and data each time."""

    def __init__(self, place: Path, chat: Path, rewards: tuple[Path, Path]) -> None:
        self.place, self._models = place, [chat, *rewards]
        prompts = [
            Prompt(
                str(n),
                (Message("user", f"{WORDS[n % 14]} {n}"),),
                "safety" if n % 2 else "helpfulness",
            )
            for n in range(30)
        ]
        write_prompts(place / "prompts.jsonl", prompts[:23])
        write_prompts(place / "held-out.jsonl", prompts[23:])
        answered = [Dialog(p.messages).answered("thanks") for p in prompts]
        write_dialogs(place / "instructions.jsonl", answered)

    def run(self, num_ranks: int, tensor: int, *stages: str) -> Path:
        folder = self.place / f"ranks-{num_ranks}-{tensor}"
        launcher = ["-m", "torch.distributed.run", "--standalone"]
        launcher += ["--nproc-per-node", str(num_ranks)]
        done = subprocess.run(
            [
                *(sys.executable, *(launcher if num_ranks > 1 else []), str(JOB)),
                *map(str, (*self._models, self.place, folder, tensor)),
                *stages,
            ],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=250,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return folder


def two_key_value_heads(source: Path, target: Path) -> Path:
    """The same model with its one key and value head twice over: two ranks can share it."""
    is_language = (source / "generation_config.json").exists()
    load, save = load_score_model, save_score_model
    if is_language:
        load, save = load_language_model, save_language_model
    model: Any = load(source)
    tensors = {
        name: torch.cat((tensor, tensor)) if "k_proj" in name or "v_proj" in name else tensor
        for name, tensor in model.state_dict().items()
    }
    twice = type(model)(model.config.model_copy(update={"num_kv_heads": 2}))
    twice.load_state_dict(tensors)
    tokenizer = load_tokenizer(source)
    cast(Any, save)(twice, target, tokenizer.special)
    tokenizer.save(target, model_max_length=64)
    return target


@pytest.fixture(scope="module")
def jobs(
    tmp_path_factory: pytest.TempPathFactory, chat_folder: Path, reward_folders: tuple[Path, Path]
) -> Jobs:
    place = tmp_path_factory.mktemp("jobs")
    chat, *rewards = (
        two_key_value_heads(folder, place / name)
        for name, folder in zip(
            ("chat", "helpfulness", "safety"), (chat_folder, *reward_folders), strict=True
        )
    )
    return Jobs(place, chat, (rewards[0], rewards[1]))


@pytest.fixture(scope="module")
def alone(jobs: Jobs) -> Path:
    return jobs.run(1, 1, "full", "fresh", "lora", "rejection", "remembering")


@pytest.fixture(scope="module")
def two(jobs: Jobs) -> Path:
    return jobs.run(2, 1, "full", "fresh", "lora", "asked", "rejection", "remembering")


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def of_json(path: Path) -> Any:
    return json.loads(path.read_text())


def assert_same(found: Path, reference: Path) -> None:
    """PPO's figures, scores, choices and weights."""
    ours, theirs = lines(found), lines(reference)
    assert [line["iteration"] for line in ours] == [1, 2, 3]
    for one, other in zip(ours, theirs, strict=True):
        for name in OF_ROLLOUTS:
            assert one[name] == pytest.approx(other[name], abs=1e-5), (name, one["iteration"])
        for name in OF_UPDATES:
            assert one[name] == pytest.approx(other[name], rel=1e-4, abs=1e-5), name
        assert one["sampler_gap"] < 1e-5
        assert one["skipped"] == 0
    # The same answers token by token; the first iteration has learned from nothing else yet.
    rollouts = [
        (folder / "rollouts.jsonl").read_text().splitlines() for folder in (found, reference)
    ]
    assert rollouts[0] == rollouts[1]
    assert len(rollouts[0]) == 3
    assert ours[0]["policy_loss"] == pytest.approx(theirs[0]["policy_loss"], abs=1e-5)
    assert ours[0]["value_loss"] == pytest.approx(theirs[0]["value_loss"], rel=1e-5)
    assert ours[0]["ratio_gap"] < 1e-5
    assert ours[0]["ratio_first"] == pytest.approx(1.0, abs=1e-6)
    assert abs(ours[0]["kl"]) < 1e-5
    assert ours[-1]["kl"] != 0.0
    results, expected = (of_json(folder / "results.json") for folder in (found, reference))
    assert results["held_out_start"] == pytest.approx(expected["held_out_start"], abs=1e-5)
    for name in ("iterations", "best_iteration", "stopped_early", "samples"):
        assert results[name] == expected[name], name
    kept = load_language_model(reference / "model").state_dict()
    for name, weight in load_language_model(found / "model").state_dict().items():
        torch.testing.assert_close(weight, kept[name], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("stage", ["full", "fresh", "lora"])
def test_ppo_on_two_ranks(alone: Path, two: Path, stage: str) -> None:
    assert_same(two / stage, alone / stage)


def test_one_rank_asked_to_stop_is_enough(two: Path) -> None:
    """Both give the samples up, save, and end with the same bits when they are run again."""
    weights = [
        (two / stage / "model/model.safetensors").read_bytes() for stage in ("asked", "full")
    ]
    assert weights[0] == weights[1]
    assert of_json(two / "asked/results.json") == of_json(two / "full/results.json")
    for asked, full in zip(lines(two / "asked"), lines(two / "full"), strict=True):
        for name in ("step", *OF_ROLLOUTS, *OF_UPDATES):
            assert asked[name] == full[name], name


def test_ppo_where_ranks_share_matrices(jobs: Jobs, alone: Path) -> None:
    """And adapters, which they cannot share, are refused before anything is sampled."""
    found = jobs.run(2, 2, "full", "lora")
    assert_same(found / "full", alone / "full")
    assert "say --parallel.tensor 1" in (found / "lora" / "refused.txt").read_text()
    assert not (found / "lora" / "metrics.jsonl").exists()


def test_two_ranks_whose_answers_come_from_a_server(
    jobs: Jobs, alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first rank alone asks it; what goes wrong there ends both with the same line."""
    monkeypatch.setenv("SAMPLER_URL", nobody())
    refused = jobs.run(2, 1, "served") / "served/refused.txt"
    assert "is vLLM still running there" in refused.read_text()
    with standing_in(jobs.place / "chat") as server:
        monkeypatch.setenv("SAMPLER_URL", server.url)
        found = jobs.run(2, 1, "served", "served-rejection")
    # Three iterations and three checks, and the policy of rejection sampling.
    assert len(server.loads) == 7
    assert_same(found / "served", alone / "full")
    rows = [
        [json.loads(line)["answers"] for line in part.read_text().splitlines()]
        for folder in (found / "served-rejection", alone / "rejection")
        for part in (folder / "samples").glob("part-*")
    ]
    assert rows[0] == rows[1]


def test_rejection_sampling_on_two_ranks(alone: Path, two: Path) -> None:
    """The same samples and scores, the same ones chosen, and learned alike."""
    ours, theirs = (
        [json.loads(line) for line in part.read_text().splitlines()]
        for folder in (two, alone)
        for part in (folder / "rejection/samples").glob("part-*")
    )
    assert [row["prompt_id"] for row in ours] == [row["prompt_id"] for row in theirs]
    assert [row["answers"] for row in ours] == [row["answers"] for row in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one["scores"] == pytest.approx(other["scores"], abs=1e-5)
    targets = [list(read_dialogs([folder / "rejection/targets.jsonl"])) for folder in (two, alone)]
    assert targets[0] == targets[1]
    losses = [[line["loss"] for line in lines(folder / "rejection")] for folder in (two, alone)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    results = [of_json(folder / "rejection/results.json") for folder in (two, alone)]
    assert results[0]["temperature"] == results[1]["temperature"]
    assert results[0]["samples"] == results[1]["samples"]


def test_a_second_version_on_two_ranks_chooses_as_one_does(alone: Path, two: Path) -> None:
    """The samples of the first are scored again by both ranks together."""
    found = [of_json(folder / "remembering/results.json") for folder in (two, alone)]
    assert found[0]["bag"] == found[1]["bag"]
    assert found[0]["bag"]["v1"]["chosen"] > 0
    targets = [
        list(read_dialogs([folder / "remembering/targets.jsonl"])) for folder in (two, alone)
    ]
    assert targets[0] == targets[1]
