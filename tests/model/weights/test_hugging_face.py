"""Model folders that are not right are refused in one line; nothing in them is executed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from arriero.model.config import ModelConfig
from arriero.model.heads import LanguageModel
from arriero.model.weights import load_language_model, load_score_model, save_language_model
from arriero.records import UserError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    config = ModelConfig(
        vocab_size=20, dim=8, num_layers=1, num_heads=2, num_kv_heads=2, ffn_dim=8, context=16
    )
    save_language_model(LanguageModel.fresh(config, seed=0), tmp_path / "model")
    return tmp_path / "model"


def change_config(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_config_speaks_to_old_and_new_transformers(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"] == 10_000.0
    assert config["torch_dtype"] == config["dtype"] == "float32"
    assert config["pad_token_id"] == 0
    assert config["eos_token_id"] == 2


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such model folder"):
        load_language_model(tmp_path / "nothing")
    with pytest.raises(UserError, match=r"no config\.json"):
        load_language_model(tmp_path)


def test_missing_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="safetensors"):
        load_language_model(folder)


def test_truncated_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match="damaged"):
        load_language_model(folder)


def test_another_shape(folder: Path) -> None:
    change_config(folder, intermediate_size=12)
    with pytest.raises(UserError, match=r"gate_proj.* \[8, 8\], config.json says \[12, 8\]"):
        load_language_model(folder)


def test_a_chat_model_is_no_reward_model(folder: Path) -> None:
    with pytest.raises(UserError, match=r"lack score\.weight"):
        load_score_model(folder)


def test_another_architecture_and_remote_code(folder: Path) -> None:
    change_config(folder, model_type="gpt2", auto_map={"AutoModel": "evil.Model"})
    with pytest.raises(UserError, match="gpt2"):
        load_language_model(folder)


def test_an_index_cannot_lead_out_of_the_folder(folder: Path) -> None:
    outside = folder.parent / "outside.safetensors"
    save_file({"x": torch.zeros(1)}, outside)
    index = {"weight_map": {"x": "../outside.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match="no such file"):
        load_language_model(folder)


def test_sharded_weights_and_tied_embeddings(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    head = weights.pop("lm_head.weight")
    names = sorted(weights)
    for number, part in enumerate((names[:4], names[4:])):
        save_file({name: weights[name] for name in part}, folder / f"part-{number}.safetensors")
    places = {name: f"part-{int(position >= 4)}.safetensors" for position, name in enumerate(names)}
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    with pytest.raises(UserError, match=r"lm_head\.weight"):
        load_language_model(folder)
    change_config(folder, tie_word_embeddings=True)
    model = load_language_model(folder)
    assert torch.equal(model.lm_head.weight, weights["model.embed_tokens.weight"])
    assert not torch.equal(model.lm_head.weight, head)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"weight_map": []}', "\xff"])
def test_an_index_that_is_none(folder: Path, text: str) -> None:
    index = folder / "model.safetensors.index.json"
    index.write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=r"model\.safetensors\.index\.json"):
        load_language_model(folder)
    index.unlink()
    (folder / "config.json").write_text("[1]")
    with pytest.raises(UserError, match=r"config\.json: not a JSON object"):
        load_language_model(folder)
