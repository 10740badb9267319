"""The whole road: every stage real, skipped when it may be, and every model a plain folder."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from arriero.api import load_chat, load_reward
from arriero.data.preferences import read_preferences
from arriero.model.weights import load_language_model
from arriero.records import Message, UserError
from arriero.road.drive import drive, newest_chat_model
from arriero.road.recipe import Recipe, load_recipe, to_toml
from arriero.road.run import run_steps
from arriero.road.stations import stations
from arriero.tokenizer.chat import encode_answer, encode_prompt
from arriero.tokenizer.load import load_tokenizer

from .conftest import SMALL

STAGES = [
    "00-inputs",
    "01-tokenizer",
    "02-pretrain",
    "03-sft",
    "04-preferences-v1",
    "05-reward-helpfulness-v1",
    "06-reward-safety-v1",
    "07-rejection-v1",
    "08-ppo-v1",
    "09-evaluate",
]
CHAT_MODELS = ["02-pretrain", "03-sft", "07-rejection-v1", "08-ppo-v1"]


def test_every_stage_left_its_manifest_and_no_checkpoints(finished_run: Path) -> None:
    assert [path.name for path in sorted(finished_run.glob("0*"))] == STAGES
    for stage in STAGES:
        manifest = json.loads((finished_run / stage / "manifest.json").read_text())
        assert manifest["stage"] == stage
        assert manifest["outputs"]
        assert manifest["seconds"] > 0
        assert not (finished_run / stage / "checkpoints").exists()
    assert (finished_run / "report.html").stat().st_size > 10_000


def test_a_finished_run_runs_nothing_again(small_recipe: Recipe, finished_run: Path) -> None:
    steps = stations(small_recipe, finished_run)
    assert run_steps(steps, small_recipe, finished_run, lambda line: None) == []


def test_a_changed_key_runs_its_stage_and_those_after_it(
    finished_run: Path, tmp_path: Path
) -> None:
    run = tmp_path / "copy"
    shutil.copytree(finished_run, run)
    recipe = load_recipe("tiny", SMALL | {"ppo.beta": 0.02})
    done = run_steps(stations(recipe, run), recipe, run, lambda line: None)
    assert done == ["08-ppo-v1", "09-evaluate"]


def test_a_damaged_output_is_made_again_bit_equal(
    small_recipe: Recipe, finished_run: Path, tmp_path: Path
) -> None:
    run = tmp_path / "copy"
    shutil.copytree(finished_run, run)
    path = run / "03-sft" / "model" / "model.safetensors"
    good = path.read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    said: list[str] = []
    done = run_steps(stations(small_recipe, run), small_recipe, run, said.append)
    assert done == ["03-sft"]
    assert said[0] == "[03-sft] a file is no longer what this stage left; it is made again"
    assert path.read_bytes() == good


def test_until_and_a_stage_alone(small_recipe: Recipe, finished_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "copy"
    shutil.copytree(finished_run, run)
    shutil.rmtree(run / "07-rejection-v1")
    written = (run / "recipe.toml").read_text()
    other = load_recipe("tiny", SMALL | {"ppo.beta": 0.02})
    with pytest.raises(UserError, match="07-rejection-v1 is not up to date"):
        drive(other, run, lambda line: None, only="ppo")
    assert (run / "recipe.toml").read_text() == written  # refused, it changes nothing
    drive(small_recipe, run, lambda line: None, until="sft")
    assert not (run / "07-rejection-v1").exists()
    with pytest.raises(UserError, match="no stage 'pro'"):
        drive(small_recipe, run, lambda line: None, until="pro")


@pytest.mark.parametrize("stage", CHAT_MODELS)
def test_transformers_opens_the_model_folders(finished_run: Path, stage: str) -> None:
    folder = finished_run / stage / "model"
    ours = load_language_model(folder)
    theirs: Any = AutoModelForCausalLM.from_pretrained(folder)
    messages = [Message("user", "Where does Bena live?")]
    ids = encode_prompt(load_tokenizer(folder), messages)
    hub_ids = AutoTokenizer.from_pretrained(folder).apply_chat_template(
        [{"role": m.role, "content": m.content} for m in messages], return_dict=False
    )
    assert hub_ids == ids
    with torch.no_grad():
        tokens = torch.tensor([ids])
        torch.testing.assert_close(ours(tokens), theirs(tokens).logits, atol=1e-4, rtol=0)
    chat = load_chat(folder)
    expected = theirs.generate(tokens, max_new_tokens=16, do_sample=False)[0, len(ids) :]
    text = load_tokenizer(folder).decode(expected.tolist()).strip()
    assert chat.answer(messages, temperature=0, max_new_tokens=16).strip() == text


@pytest.mark.parametrize("stage", ["05-reward-helpfulness-v1", "06-reward-safety-v1"])
def test_transformers_gives_the_same_scores_alone_and_padded(
    finished_run: Path, stage: str
) -> None:
    folder = finished_run / stage / "model"
    reward = load_reward(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    rows = list(read_preferences([finished_run / "04-preferences-v1" / "safety-test.jsonl"]))[:6]
    tokenizer = load_tokenizer(folder)
    ids = [encode_prompt(tokenizer, r.prompt) + encode_answer(tokenizer, r.chosen) for r in rows]
    ours = torch.tensor([reward.score(row.prompt, row.chosen) for row in rows])
    padded = torch.zeros(len(ids), max(map(len, ids)), dtype=torch.int64)
    attention = torch.zeros_like(padded)
    for index, row_ids in enumerate(ids):
        padded[index, : len(row_ids)] = torch.tensor(row_ids)
        attention[index, : len(row_ids)] = 1
    with torch.no_grad():
        alone = torch.cat([model(torch.tensor([row_ids])).logits[:, 0] for row_ids in ids])
        together = model(padded, attention_mask=attention).logits[:, 0]
    torch.testing.assert_close(alone, ours, atol=1e-4, rtol=0)
    torch.testing.assert_close(together, ours, atol=1e-4, rtol=0)


def test_ppo_started_on_its_own_policy(finished_run: Path) -> None:
    """Ratio 1 at the first mini-batch and no KL: sampler, trainer and reference are one model."""
    lines = (finished_run / "08-ppo-v1" / "metrics.jsonl").read_text().splitlines()
    figures = [json.loads(line) for line in lines]
    assert [line["iteration"] for line in figures] == [1, 2, 3, 4]
    assert figures[0]["kl"] == 0.0
    for line in figures:
        assert line["ratio_first"] == 1.0
        assert line["sampler_gap"] < 1e-4


def test_the_evaluation_compares_every_version(finished_run: Path) -> None:
    results = json.loads((finished_run / "09-evaluate" / "results.json").read_text())
    assert results["versions"] == ["base", "sft", "rejection-v1", "ppo-v1"]
    for row in results["wins"]:
        total = row["wins"] + row["ties"] + row["losses"]
        assert total == (120 if row["set"] == "all" else 40)
    assert newest_chat_model(finished_run) == finished_run / "08-ppo-v1" / "model"


def test_comparisons_never_ask_what_training_asked(finished_run: Path) -> None:
    folder = finished_run / "04-preferences-v1"
    for track in ("helpfulness", "safety"):
        train = {row.prompt for row in read_preferences([folder / f"{track}-train.jsonl"])}
        test = {row.prompt for row in read_preferences([folder / f"{track}-test.jsonl"])}
        assert train
        assert test
        assert not train & test


def test_what_was_made_of_an_older_model_is_not_shown(finished_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "copy"
    shutil.copytree(finished_run, run)
    recipe = load_recipe("tiny", SMALL | {"sft.epochs": 2})
    report = drive(recipe, run, lambda line: None, until="sft")
    assert newest_chat_model(run) == run / "03-sft" / "model"
    assert report is not None
    page = report.read_text()
    assert "Supervised fine-tuning" in page
    assert "Rejection sampling" not in page
    with pytest.raises(UserError, match="--from ppo comes after --until sft"):
        drive(recipe, run, lambda line: None, until="sft", restart_from="ppo")


def test_a_kill_while_outputs_are_hashed_costs_no_training(
    small_recipe: Recipe, finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "copy"
    shutil.copytree(finished_run, run)

    def stop(folder: Path) -> dict[str, str]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("arriero.road.run.hash_outputs", stop)
        with pytest.raises(KeyboardInterrupt):
            drive(small_recipe, run, lambda line: None, restart_from="ppo")
    said: list[str] = []
    drive(small_recipe, run, said.append)
    assert "[08-ppo-v1] going on" in said
    assert not [line for line in said if line.startswith("[08-ppo-v1] iteration")]
    weights = Path("08-ppo-v1", "model", "model.safetensors")
    assert (run / weights).read_bytes() == (finished_run / weights).read_bytes()
    assert not (run / "08-ppo-v1" / "checkpoints").exists()


def test_the_example_of_the_readme(
    small_recipe: Recipe, finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it stands there, but for the recipe: a finished run, so that nothing is trained."""
    readme = Path(__file__).parents[2] / "README.md"
    (code,) = re.findall(r"```python\n(.*?)```", readme.read_text(encoding="utf-8"), re.DOTALL)
    shutil.copytree(finished_run, tmp_path / "runs" / "tiny")
    (tmp_path / "small.toml").write_text(to_toml(small_recipe))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(code.replace('run_recipe("tiny"', 'run_recipe("small.toml"'), names)
    assert names["chat"].tokenizer.fingerprint == names["reward"].tokenizer.fingerprint
    assert isinstance(names["answer"], str)
