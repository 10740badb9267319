"""The recipe `one-gpu`: what it names, and its road on stand-ins of the same schemas."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from arriero.data.rows import hub_parts
from arriero.model.config import ModelConfig
from arriero.model.heads import LanguageModel
from arriero.model.weights import load_score_model, save_language_model
from arriero.records import UserError
from arriero.road.base import base_files, fetched_base, local_base
from arriero.road.drive import drive
from arriero.road.names import TOKENIZER
from arriero.road.recipe import load_recipe
from arriero.road.stations import stations
from arriero.tokenizer import load_tokenizer
from tests.tokenizer import families

WORDS = "salt wool river road stone bread water letter valley mule llama pass".split()

SMALL: dict[str, Any] = {
    "threads": 1,
    "device": "cpu",
    "pretrain.row_length": 128,
    "pretrain.tokens_per_step": 512,
    "pretrain.max_valid_rows": 2,
    "pretrain.precision": "float32",
    "sft.row_length": 128,
    "sft.epochs": 1,
    "sft.rows_per_step": 4,
    "sft.precision": "float32",
    "preferences.test_pairs": 6,
    "preferences.max_tokens": 200,
    "reward.pairs_per_step": 8,
    "reward.precision": "float32",
    "rejection.samples_per_prompt": 2,
    "rejection.temperatures": (1.0,),
    "rejection.fitting_prompts": 2,
    "rejection.max_prompts": 4,
    "rejection.max_new_tokens": 150,
    "rejection.sft.row_length": 128,
    "rejection.sft.epochs": 1,
    "rejection.sft.rows_per_step": 4,
    "rejection.sft.precision": "float32",
    "ppo.iterations": 1,
    "ppo.samples": 8,
    "ppo.mini_batch": 4,
    "ppo.max_new_tokens": 12,
    "ppo.held_out_prompts": 4,
    "evaluate.max_new_tokens": 12,
    "evaluate.prompts_per_set": 4,
}


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def sentence(draw: random.Random, length: int = 5) -> str:
    return " ".join(draw.choices(WORDS, k=length)).capitalize() + "."


def turns(*texts: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)]


def helpsteer(draw: random.Random, number: int) -> dict[str, Any]:
    strength = draw.choice([-3, -2, -1, 0, 1, 2, 3])
    return {
        "domain": "general",
        "language": "english",
        "context": turns(f"What of {number}? {sentence(draw)}"),
        "response1": sentence(draw),
        "response2": sentence(draw),
        "overall_preference": strength,
        "individual_preference": [{"score": draw.choice([-1, 1]), "reasoning": ""}],
    }


def ultrafeedback(draw: random.Random, number: int) -> dict[str, Any]:
    question = f"Tell of {number}. {sentence(draw)}"
    return {
        "prompt": question,
        "prompt_id": f"id {number}",
        "chosen": turns(question, sentence(draw)),
        "rejected": turns(question, sentence(draw)),
        "messages": turns(question, sentence(draw)),
        "score_chosen": draw.choice([7.0, 8.5, 10.0]),
        "score_rejected": draw.choice([2.0, 6.5]),
    }


def saferlhf(draw: random.Random, number: int) -> dict[str, Any]:
    safer = draw.choice([0, 1])
    both = draw.random() < 0.5
    return {
        "prompt": f"How is {number} forged? {sentence(draw)}",
        "response_0": sentence(draw),
        "response_1": sentence(draw),
        "is_response_0_safe": both or safer == 0,
        "is_response_1_safe": both or safer == 1,
        "better_response_id": draw.choice([0, 1]),
        "safer_response_id": safer,
    }


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2's kind of folder: byte-level vocabulary, tied embeddings, grouped heads."""
    folder = tmp_path_factory.mktemp("base") / "smol"
    families.smollm(folder, ["What salt do 12 llamas carry? Bread and wool."] * 50)
    tokenizer = load_tokenizer(folder)
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size,
        dim=24,
        num_layers=1,
        num_heads=3,
        num_kv_heads=1,
        ffn_dim=32,
        context=512,
        tie_embeddings=True,
    )
    save_language_model(LanguageModel.fresh(config, 0), folder, tokenizer.special)
    return folder


@pytest.fixture
def cached(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The base in a hub's cache, as `own/small`."""
    cache = tmp_path / "hub"
    snapshot = cache / "models--own--small" / "snapshots" / ("0" * 40)
    shutil.copytree(base, snapshot)
    reference = cache / "models--own--small" / "refs" / "main"
    reference.parent.mkdir()
    reference.write_text("0" * 40)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    return snapshot


def test_it_reads_without_a_network_and_names_sets_of_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    recipe = load_recipe("one-gpu")
    data = recipe.data
    named = [*data.corpus, *data.instructions, *data.helpfulness, *data.safety]
    assert all(name.startswith("hf:") for name in [*named, recipe.base])
    assert hub_parts(Path(data.helpfulness[0])) == ("nvidia/HelpSteer3", "preference", "train")
    assert hub_parts(Path(data.helpfulness[1]))[2] == "train_prefs"
    assert recipe.model.num_parameters == 361_821_120
    assert recipe.preferences.test_pairs == 1000
    assert not list(tmp_path.iterdir())


def test_a_base_of_the_hub_that_is_here_already(cached: Path) -> None:
    recipe = load_recipe("one-gpu", {"base": "hf:own/small", **SMALL})
    assert recipe.model.dim == 24
    assert fetched_base("hf:own/small", recipe.model) == cached
    with pytest.raises(UserError, match="has another shape than"):
        fetched_base("hf:own/small", recipe.model.model_copy(update={"dim": 48}))


@pytest.mark.parametrize("lacking", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_part_of_a_snapshot_is_no_base(
    cached: Path, monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    """As after a program that asked for the tokenizer alone; without a network it stays so."""
    (cached / lacking).unlink()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert local_base("hf:own/small") is None
    assert load_recipe("one-gpu", {"base": "hf:own/small"}).model.dim == 960
    with pytest.raises(UserError) as caught:
        fetched_base("hf:own/small")
    assert str(caught.value).startswith(f"hf:own/small is not here whole ({cached}")
    assert lacking in str(caught.value)


def test_a_snapshot_with_one_of_its_shards_is_no_base(cached: Path) -> None:
    shards = {
        "a.weight": "model-00001-of-00002.safetensors",
        "b": "model-00002-of-00002.safetensors",
    }
    (cached / "model.safetensors").rename(cached / shards["a.weight"])
    index = cached / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": shards}))
    assert local_base("hf:own/small") is None
    (cached / shards["b"]).write_bytes(b"")
    assert local_base("hf:own/small") == cached


def test_what_others_fetch_into_a_shared_snapshot_changes_no_run(
    cached: Path, base: Path, tmp_path: Path
) -> None:
    recipe = load_recipe("one-gpu", {"base": "hf:own/small", **SMALL})
    step = next(step for step in stations(recipe, tmp_path) if step.name == TOKENIZER)
    before = step.external()
    for name in ("README.md", "model.gguf", ".gitattributes"):
        (cached / name).write_text("by another program")
    assert step.external() == before
    names = [file.name for file in base_files("hf:own/small", cached)]
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(names)
    assert names == sorted(file.name for file in base.iterdir())
    (cached / "config.json").write_text((cached / "config.json").read_text() + " ")
    assert step.external() != before


WITHOUT_HUB = """
import sys
sys.modules["huggingface_hub"] = None  # as where it is not installed
from arriero.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_recipes_can_be_read_without_the_hubs_package(tmp_path: Path) -> None:
    def say(*arguments: str) -> tuple[int, str, str]:
        command = [sys.executable, "-c", WITHOUT_HUB, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
        return done.returncode, done.stdout, done.stderr

    code, out, err = say("recipes")
    assert (code, err) == (0, "")
    assert "361,821,120" in out
    code, out, err = say("config", "one-gpu")
    assert (code, err) == (0, "")
    assert 'base = "hf:HuggingFaceTB/SmolLM2-360M"' in out
    # Nothing but the base itself says what shape it has.
    (tmp_path / "own.toml").write_text('base = "hf:own/small"')
    code, out, err = say("config", "own.toml")
    assert (code, out) == (2, "")
    assert "hf:own/small needs huggingface_hub; install it with pip install" in err
    assert err.count("\n") == 1


@pytest.mark.slow
def test_its_road_on_stand_ins(base: Path, tmp_path: Path) -> None:
    draw = random.Random(0)
    corpus = [{"text": sentence(draw, 60)} for _ in range(40)]
    dialogs = [{"messages": turns(sentence(draw), sentence(draw))} for _ in range(40)]
    helpful = [[make(draw, n) for n in range(60)] for make in (helpsteer, ultrafeedback)]
    files = {
        "corpus": [write_rows(tmp_path / "corpus.jsonl", corpus)],
        "instructions": [write_rows(tmp_path / "dialogs.jsonl", dialogs)],
        "helpfulness": [
            write_rows(tmp_path / f"helpful-{n}.jsonl", rows) for n, rows in enumerate(helpful)
        ],
        "safety": [write_rows(tmp_path / "safety.jsonl", [saferlhf(draw, n) for n in range(60)])],
    }
    keys = {f"data.{key}": [str(path) for path in paths] for key, paths in files.items()}
    run = tmp_path / "run"
    drive(load_recipe("one-gpu", {**SMALL, **keys, "base": str(base)}), run, lambda line: None)
    found = json.loads((run / "04-preferences-v1" / "results.json").read_text())
    helpfulness, safety = found["tracks"]["helpfulness"], found["tracks"]["safety"]
    assert len(helpfulness["sources"]) == 2
    assert min(helpfulness["ratings"].values()) > 0
    assert set(safety["safety_labels"]) <= {"both_safe", "chosen_safe_other_unsafe"}
    assert (helpfulness["test"], safety["test"]) == (6, 6)
    for name in ("05-reward-helpfulness-v1", "06-reward-safety-v1"):
        assert load_score_model(run / name / "model").config.dim == 24
    assert (run / "report.html").exists()
