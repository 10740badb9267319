"""The evaluation: every version on the same prompts, with an oracle and without one."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from arriero.data.shards import Shard, write_shard
from arriero.data.writing import write_preferences, write_prompts
from arriero.inference.engine import Engine
from arriero.inference.generate import Completion, Sampling
from arriero.model.heads import LanguageModel
from arriero.model.weights import load_language_model, save_language_model
from arriero.records import LLAMA2_IDS, Dialog, Grade, Message, Preference, Prompt, UserError
from arriero.records.prompt import Track
from arriero.stages import evaluate
from arriero.stages.evaluate import EvaluateConfig, EvaluateInputs
from arriero.stages.evaluate_judge import JudgeConfig
from arriero.stages.pretrain import PretrainConfig
from arriero.stages.sampling import ChatModel
from arriero.stages.token_loss import mean_loss
from arriero.stages.workspace import Workspace
from arriero.tokenizer import Tokenizer
from tests.evaluation.stub import Reply, longer, said, stubbed
from tests.serving.running import running, tiny_model

from .conftest import CONFIG, WORDS, NewWorkspace, results

SMALL = EvaluateConfig(max_new_tokens=6, prompts_per_set=5, dialogs=4)
FEW_SHOT = [Dialog((Message("user", "salt"), Message("assistant", "yes")))]
CPU = torch.device("cpu")


class LengthOracle:
    """Grades by length; notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def grade(self, prompt: Prompt, answer: str) -> Grade:
        self.asked.append(prompt.id)
        value = min(1.0, len(answer) / 30)
        return Grade(value, 1 - value, len(answer) > 8, len(answer) > 20, not answer, "some")


@pytest.fixture
def inputs(
    tmp_path: Path,
    chat_folder: Path,
    reward_folders: tuple[Path, Path],
    tokenizer: Tokenizer,
) -> EvaluateInputs:
    other = tmp_path / "ppo"
    save_language_model(LanguageModel.fresh(CONFIG, seed=9), other, LLAMA2_IDS)
    tokenizer.save(other, model_max_length=64)
    write_shard([" ".join(WORDS * 3)] * 20, tokenizer, tmp_path / "shard")
    sets: dict[str, Path] = {}
    tracks: dict[str, Track] = {"ordinary": "helpfulness", "adversarial": "safety"}
    for name, track in tracks.items():
        sets[name] = tmp_path / f"{name}.jsonl"
        write_prompts(
            sets[name],
            [
                Prompt(f"{name}-{n}", (Message("user", f"{WORDS[n]} {n}"),), track, "asking")
                for n in range(7)
            ],
        )
    comparisons = tmp_path / "comparisons.jsonl"
    rows = [
        Preference((Message("user", f"wool {n}"),), "yes please", "no", prompt_id=str(n))
        for n in range(5)
    ]
    write_preferences(comparisons, rows)
    return EvaluateInputs(
        base=chat_folder,
        base_shard=tmp_path / "shard",
        versions={"sft": chat_folder, "ppo-v1": other},
        sets=sets,
        rewards=reward_folders,
        comparisons={"helpfulness": comparisons},
        few_shot=FEW_SHOT,
    )


def run(
    inputs: EvaluateInputs,
    space: Workspace,
    oracle: LengthOracle | None,
    judge: JudgeConfig | None = None,
) -> dict[str, Any]:
    pretraining = PretrainConfig(row_length=16, max_valid_rows=4, valid_share=0.4)
    config = SMALL.model_copy(update={"judge": judge or JudgeConfig()})
    evaluate.run(config, inputs, oracle=oracle, pretraining=pretraining, workspace=space)
    return results(space)


def rows_of(space: Workspace, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (space.folder / "answers" / name).read_text().splitlines()]


def test_with_an_oracle(inputs: EvaluateInputs, workspace: NewWorkspace) -> None:
    space, oracle = workspace(), LengthOracle()
    found = run(inputs, space, oracle)
    assert found["versions"] == ["base", "sft", "ppo-v1"]
    assert found["has_oracle"] is True
    assert len(list((space.folder / "answers").iterdir())) == 6
    for name in ("ordinary", "adversarial"):
        by_version = [rows_of(space, f"{v}-{name}.jsonl") for v in found["versions"]]
        asked = [[row["prompt_id"] for row in rows] for rows in by_version]
        assert asked[0] == asked[1] == asked[2] == [f"{name}-{n}" for n in range(5)]
        for version, rows in zip(found["versions"], by_version, strict=True):
            figures = found["sets"][name][version]
            assert figures["n"] == 5
            assert figures["right"] == sum(len(row["answer"]) > 8 for row in rows) / 5
    judges = {(row["a"], row["b"], row["judge"]) for row in found["wins"]}
    assert judges == {("ppo-v1", "sft", "oracle"), ("ppo-v1", "sft", "reward")}
    # The base model is no chat model and is compared by its figures alone.
    assert found["path"].keys() == {"sft", "ppo-v1"}
    assert found["reward_models"]["helpfulness"]["n"] == 5
    assert set(oracle.asked) >= {f"ordinary-{n}" for n in range(5)}


def test_without_an_oracle(inputs: EvaluateInputs, workspace: NewWorkspace) -> None:
    found = run(inputs, workspace(), None)
    assert found["versions"] == ["sft", "ppo-v1"]
    assert found["has_oracle"] is False
    assert (found["sets"], found["labels"], found["paired"]) == ({}, {}, [])
    assert "reward_models" not in found
    assert {row["judge"] for row in found["wins"]} == {"reward"}
    assert found["perplexity"].keys() == {"base", "sft", "ppo-v1"}


def test_the_same_twice(inputs: EvaluateInputs, workspace: NewWorkspace) -> None:
    oracle = LengthOracle()
    first, second = (run(inputs, workspace(name), oracle) for name in "ab")
    assert first == second


def test_perplexity_is_that_of_the_held_out_rows(
    inputs: EvaluateInputs, workspace: NewWorkspace
) -> None:
    found = run(inputs, workspace(), None)
    shard = Shard(inputs.base_shard, 16)
    batch = shard.batch(range(shard.num_rows - 4, shard.num_rows))
    for version, folder in inputs.versions.items():
        loss = mean_loss(load_language_model(folder), [batch], CPU)
        assert loss is not None
        assert found["perplexity"][version] == pytest.approx(math.exp(loss), rel=1e-4)
    assert found["perplexity"]["base"] == found["perplexity"]["sft"]


def test_dialogs_stand_side_by_side(inputs: EvaluateInputs, workspace: NewWorkspace) -> None:
    space = workspace()
    shown = run(inputs, space, LengthOracle())["dialogs"]
    assert [item["set"] for item in shown] == ["ordinary"] * 2 + ["adversarial"] * 2
    for item in shown:
        assert item["answers"].keys() == {"base", "sft", "ppo-v1"}
        rows = rows_of(space, f"sft-{item['set']}.jsonl")
        (row,) = [row for row in rows if row["prompt"] == item["prompt"][-1]["content"]]
        assert item["answers"]["sft"]["text"] == row["answer"]


def test_the_base_model_answers_after_examples(
    chat_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line of its continuation; the prompt is plain text without the chat layout."""
    base = ChatModel.load(chat_folder, CPU)
    asked: list[str] = []
    said = base.tokenizer.encode(" yes please\nQuestion: wool")

    def said_to(model: object, prompts: list[list[int]], *rest: Any, **more: Any) -> Any:
        asked.extend(base.tokenizer.decode(ids) for ids in prompts)
        assert all(ids[0] == base.tokenizer.bos_id for ids in prompts)
        assert not any(base.tokenizer.eos_id in ids for ids in prompts)
        return [[Completion(said, [0.0] * len(said), False)] for _ in prompts]

    monkeypatch.setattr(evaluate, "generate", said_to)
    prompts = [Prompt(str(n), (Message("user", word),)) for n, word in enumerate(WORDS)]
    sampling = Sampling(temperature=2.0, max_new_tokens=12)
    answers = evaluate._few_shot_answers(base, FEW_SHOT, prompts, sampling, seed=0)
    assert asked[0] == "Question: salt\nAnswer: yes\nQuestion: salt\nAnswer:"
    assert [answer.text for answer in answers] == ["yes please"] * len(prompts)


def test_an_outside_judge_beside_the_others(
    inputs: EvaluateInputs, workspace: NewWorkspace
) -> None:
    space, plain = workspace(), run(inputs, workspace("plain"), LengthOracle())
    with stubbed() as stub:
        stub.say = longer
        found = run(inputs, space, LengthOracle(), JudgeConfig(url=stub.url, model="m"))
    lengths = {
        name: [
            (len(a["answer"]), len(b["answer"]), a["answer"] == b["answer"])
            for a, b in zip(
                rows_of(space, f"ppo-v1-{name}.jsonl"),
                rows_of(space, f"sft-{name}.jsonl"),
                strict=True,
            )
        ]
        for name in ("ordinary", "adversarial")
    }
    lengths["all"] = lengths["ordinary"] + lengths["adversarial"]
    rows = {row["set"]: row for row in found["wins"] if row["judge"] == "outside"}
    assert rows.keys() == lengths.keys()
    for name, pairs in lengths.items():
        counted = (sum(a > b for a, b, _ in pairs), sum(a < b for a, b, _ in pairs))
        assert (rows[name]["wins"], rows[name]["losses"]) == counted
        assert rows[name]["ties"] == len(pairs) - sum(counted)
    # Both sets ask the same here, and get the same answers: one question.
    assert (found["judge"]["num_pairs"], found["judge"]["num_judged"]) == (10, 5)
    judges = [row["judges"] for row in found["judge"]["agreement"]]
    assert judges == [["outside", "reward"], ["outside", "oracle"], ["reward", "oracle"]]
    # Nothing else has changed by it.
    assert [row for row in found["wins"] if row["judge"] != "outside"] == plain["wins"]
    assert {k: v for k, v in found.items() if k not in ("wins", "judge")} == {
        k: v for k, v in plain.items() if k != "wins"
    }


def test_a_wrong_key_is_refused_before_anything_is_sampled(
    inputs: EvaluateInputs, workspace: NewWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ChatModel, "load", None)  # no model is so much as read
    space = workspace()
    with stubbed() as stub:
        stub.say = lambda number, body: (401, {}, b"{}")
        with pytest.raises(UserError, match="HTTP 401; check the key; its key stands in ARRIERO"):
            run(inputs, space, None, JudgeConfig(url=stub.url, model="m"))
    assert list(space.folder.iterdir()) == []


def test_a_judge_that_falls_silent_loses_nothing_of_the_others(
    inputs: EvaluateInputs, workspace: NewWorkspace
) -> None:
    plain = run(inputs, workspace("plain"), LengthOracle())

    def say(number: int, body: dict[str, Any]) -> Reply:
        return said("A") if number == 0 else (503, {}, b"")

    with stubbed() as stub:
        stub.say = say
        judge = JudgeConfig(url=stub.url, model="m", attempts=1)
        found = run(inputs, workspace(), LengthOracle(), judge)
    # Too few questions for eight in a row; that none was answered is said all the same.
    assert found["judge"]["error"] == f"{stub.url}: no question was answered (HTTP 503)"
    assert [row for row in found["wins"] if row["judge"] != "outside"] == plain["wins"]
    assert found["path"] == plain["path"]


def test_our_own_server_as_outside_judge(
    inputs: EvaluateInputs, workspace: NewWorkspace, tokenizer: Tokenizer
) -> None:
    """Random weights talk nonsense: every pair is judged or counted, and nothing breaks."""
    model = tiny_model(tokenizer.vocab_size, context=2048)
    engine = Engine(model, ends=tokenizer.special.ends, max_rows=4)
    with running(engine, tokenizer) as server:
        judge = JudgeConfig(url=f"{server.url}/v1", max_tokens=4)
        facts = run(inputs, workspace(), None, judge)["judge"]
    assert facts["error"] == ""
    assert facts["num_asked"] == facts["num_judged"] + sum(facts["skipped"].values()) > 0
    assert facts["model"] == "tiny"
