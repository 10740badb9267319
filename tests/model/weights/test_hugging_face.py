"""Model folders that are not right are refused in one line; nothing in them is executed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from arriero.model.config import ModelConfig
from arriero.model.heads import LanguageModel, ScoreModel
from arriero.model.weights import (
    load_language_model,
    load_score_model,
    save_language_model,
    save_score_model,
)
from arriero.model.weights.hugging_face_config import special_from_hugging_face
from arriero.records import LLAMA2_IDS, SpecialIds, UserError

CONFIG = ModelConfig(
    vocab_size=20, dim=8, num_layers=1, num_heads=2, num_kv_heads=2, ffn_dim=8, context=16
)
TIED = CONFIG.model_copy(update={"tie_embeddings": True})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_language_model(LanguageModel.fresh(CONFIG, seed=0), tmp_path / "model", LLAMA2_IDS)
    return tmp_path / "model"


@pytest.fixture
def tied(tmp_path: Path) -> Path:
    save_language_model(LanguageModel.fresh(TIED, seed=0), tmp_path / "tied", LLAMA2_IDS)
    return tmp_path / "tied"


def change_config(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    weights = {name: t.clone() for name, t in load_file(folder / "model.safetensors").items()}
    change(weights)
    save_file(weights, folder / "model.safetensors")


def refusal(folder: Path) -> str:
    with pytest.raises(UserError) as refused:
        load_language_model(folder)
    line = str(refused.value)
    assert "\n" not in line
    assert str(folder) in line
    return line


def test_config_speaks_to_old_and_new_transformers(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"] == 10_000.0
    assert config["torch_dtype"] == config["dtype"] == "float32"
    assert config["pad_token_id"] == 0
    assert config["eos_token_id"] == 2


def test_both_spellings_of_scaled_angles_are_written_and_read(tmp_path: Path) -> None:
    config = CONFIG.model_copy(
        update={"rope_scaling": "llama3", "rope_factor": 8.0, "rope_original_context": 4}
    )
    save_language_model(LanguageModel.fresh(config, seed=0), tmp_path, LLAMA2_IDS)
    raw = json.loads((tmp_path / "config.json").read_text())
    assert raw["rope_scaling"]["rope_type"] == raw["rope_parameters"]["rope_type"] == "llama3"
    for missing in (("rope_parameters",), ("rope_scaling", "rope_theta")):
        kept = {key: value for key, value in raw.items() if key not in missing}
        (tmp_path / "config.json").write_text(json.dumps(kept))
        assert load_language_model(tmp_path).config == config
    kept = {key: value for key, value in raw.items() if key != "rope_parameters"}
    kept["rope_scaling"]["type"] = kept["rope_scaling"].pop("rope_type")  # the oldest spelling
    (tmp_path / "config.json").write_text(json.dumps(kept))
    assert load_language_model(tmp_path).config == config


@pytest.mark.parametrize("tie", [False, True])
def test_what_transformers_saves_is_read(tmp_path: Path, tie: bool) -> None:
    theirs = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=40,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=6,
            max_position_embeddings=32,
            attention_bias=True,
            mlp_bias=True,
            tie_word_embeddings=tie,
            rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 5000.0},
        )
    ).eval()
    theirs.save_pretrained(tmp_path, max_shard_size="8KB")
    assert (tmp_path / "model.safetensors.index.json").is_file()
    ours = load_language_model(tmp_path)
    assert (ours.config.head_width, ours.config.rope_factor, ours.config.norm_eps) == (6, 2.0, 1e-6)
    tokens = torch.tensor([[1, 5, 7, 33]])
    with torch.no_grad():
        torch.testing.assert_close(ours(tokens), theirs(tokens).logits, atol=1e-5, rtol=0)


def test_ids_of_the_tokenizer_go_into_both_configurations(tmp_path: Path) -> None:
    special = SpecialIds(bos=None, ends=(7, 9), pad=3)
    save_language_model(LanguageModel.fresh(CONFIG, seed=0), tmp_path, special)
    for name in ("config.json", "generation_config.json"):
        raw = json.loads((tmp_path / name).read_text())
        assert (raw["bos_token_id"], raw["eos_token_id"], raw["pad_token_id"]) == (None, [7, 9], 3)
    assert special_from_hugging_face(tmp_path) == special
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": 5, "pad_token_id": 99}')
    # An id outside the vocabulary is none; padding is never an end.
    assert special_from_hugging_face(tmp_path) == SpecialIds(bos=None, ends=(5,), pad=0)
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [0], "pad_token_id": 0}')
    assert special_from_hugging_face(tmp_path) == SpecialIds(bos=None, ends=(0,), pad=1)
    (tmp_path / "generation_config.json").unlink()
    change_config(tmp_path, eos_token_id=None)
    assert special_from_hugging_face(tmp_path) is None


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such model folder"):
        load_language_model(tmp_path / "nothing")
    with pytest.raises(UserError, match=r"no config\.json"):
        load_language_model(tmp_path)


def test_another_shape(folder: Path) -> None:
    change_config(folder, intermediate_size=12)
    assert "gate_proj.weight has shape [8, 8], its configuration says [12, 8]" in refusal(folder)


def test_a_missing_and_a_foreign_weight(folder: Path) -> None:
    change_weights(folder, lambda weights: weights.update(stranger=torch.zeros(2)))
    assert "hold stranger, which is no part of this model" in refusal(folder)

    def swap(weights: dict[str, torch.Tensor]) -> None:
        del weights["stranger"], weights["model.norm.weight"]

    change_weights(folder, swap)
    assert "lack model.norm.weight" in refusal(folder)


def test_tables_of_angles_in_old_checkpoints_are_left_aside(folder: Path) -> None:
    name = "model.layers.0.self_attn.rotary_emb.inv_freq"
    change_weights(folder, lambda weights: weights.update({name: torch.zeros(2)}))
    assert load_language_model(folder).config == CONFIG


def test_heads_are_not_mistaken(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"lack score\.weight"):
        load_score_model(folder)
    language = LanguageModel.fresh(CONFIG, seed=0)
    save_score_model(ScoreModel.from_language_model(language, seed=1), tmp_path / "s", LLAMA2_IDS)
    assert "lack lm_head.weight" in refusal(tmp_path / "s")


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"model_type": "gpt2"}, "model type 'gpt2' is not supported"),
        ({"hidden_act": "gelu"}, "hidden_act 'gelu' is not supported"),
        ({"quantization_config": {"bits": 4}}, "quantized weights are not supported"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "rotary scaling 'yarn'"),
        ({"rope_scaling": {"type": "dynamic", "factor": 4.0}}, "rotary scaling 'dynamic'"),
        ({"rope_scaling": {"type": "linear"}}, "key 'factor' of the rotary scaling is missing"),
        ({"rope_scaling": "linear"}, "rope_scaling is not an object"),
        ({"partial_rotary_factor": 0.5}, "a part of a head only"),
        ({"hidden_size": None}, "key 'hidden_size' is missing"),
        ({"intermediate_size": None}, "key 'intermediate_size' is missing"),
        ({"hidden_size": "wide"}, "hidden_size: Input should be a valid integer"),
        ({"num_attention_heads": 0}, "num_attention_heads: Input should be greater than 0"),
        ({"num_key_value_heads": 3}, "num_heads 2 must be a multiple of num_kv_heads"),
        ({"num_hidden_layers": 10**9}, "lack model.layers.1."),
        ({"vocab_size": 10**30}, "embed_tokens.weight has shape [20, 8]"),
    ],
    ids=str,
)
def test_configurations_that_are_not_ours(folder: Path, values: dict[str, Any], line: str) -> None:
    change_config(folder, **values)
    assert line in refusal(folder)


@pytest.mark.parametrize(
    "values",
    [{"auto_map": {"AutoModelForCausalLM": "evil.Model"}}, {"trust_remote_code": True}],
    ids=str,
)
def test_code_that_comes_with_a_model_is_never_run(folder: Path, values: dict[str, Any]) -> None:
    trace = folder / "trace"
    (folder / "evil.py").write_text(f"open({str(trace)!r}, 'w')\nclass Model: pass\n")
    change_config(folder, **values)
    line = refusal(folder)
    assert "asks for code of its own" in line
    assert next(iter(values)) in line
    assert not trace.exists()


@pytest.mark.parametrize("text", ["", "[]", "[1]", "\xff", '{"a": ', "[" * 100_000])
def test_a_configuration_that_is_none(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text, encoding="latin-1")
    assert "config.json" in refusal(folder)


def test_tied_weights_are_stored_once(tied: Path) -> None:
    assert "lm_head.weight" not in load_file(tied / "model.safetensors")
    model = load_language_model(tied)
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_a_tied_model_with_a_copy_of_its_embedding(tied: Path) -> None:
    def repeat(weights: dict[str, torch.Tensor]) -> None:
        weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()

    change_weights(tied, repeat)
    model = load_language_model(tied)
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_a_tied_model_with_another_output_is_not_tied(tied: Path) -> None:
    """As in transformers: what is in the file counts, the configuration is wrong."""
    output = torch.arange(160.0).view(20, 8)
    change_weights(tied, lambda weights: weights.update({"lm_head.weight": output}))
    model = load_language_model(tied)
    assert torch.equal(model.lm_head.weight, output)
    assert not model.config.tie_embeddings
    theirs = LlamaForCausalLM.from_pretrained(tied)
    assert torch.equal(theirs.lm_head.weight, output)


@pytest.mark.parametrize("beside", [True, False], ids=["in the run", "in the folder"])
def test_a_flipped_bit_is_seen_where_hashes_are_known(folder: Path, beside: bool) -> None:
    path = folder / "model.safetensors"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    name = f"{folder.name}/{path.name}" if beside else path.name
    place = folder.parent if beside else folder
    (place / "manifest.json").write_text(json.dumps({"outputs": {name: digest}}))
    load_language_model(folder)
    content = bytearray(path.read_bytes())
    content[-3] ^= 16
    path.write_bytes(content)
    assert "its SHA-256 is not the one in manifest.json" in refusal(folder)


@pytest.mark.parametrize("text", ["{}", "[]", '{"outputs": 3}', '{"outputs": {"a": 1}}', "\xff"])
def test_somebody_elses_manifest_is_no_obstacle(folder: Path, text: str) -> None:
    (folder / "manifest.json").write_text(text, encoding="latin-1")
    load_language_model(folder)


def test_the_type_of_the_weights_can_be_chosen(folder: Path) -> None:
    exact, rough = load_language_model(folder), load_language_model(folder, dtype=torch.bfloat16)
    for name, tensor in exact.state_dict().items():
        assert torch.equal(rough.state_dict()[name], tensor.bfloat16())
        assert tensor.dtype == torch.float32


def test_a_loaded_model_does_not_depend_on_its_file(folder: Path) -> None:
    model = load_language_model(folder)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    (folder / "model.safetensors").write_bytes(b"\0" * 10_000)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert all(parameter.requires_grad for parameter in model.parameters())
