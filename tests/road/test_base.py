"""A run that starts from somebody's model: another tokenizer, another template, another shape."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from arriero.api import load_chat
from arriero.model.config import ModelConfig
from arriero.model.heads import LanguageModel
from arriero.model.weights import load_language_model, save_language_model
from arriero.records import Message, UserError
from arriero.road.drive import drive
from arriero.road.recipe import load_recipe
from arriero.tokenizer import encode_prompt, load_tokenizer
from tests.tokenizer import families

from .conftest import SMALL

KEYS: dict[str, Any] = {
    key: value for key, value in SMALL.items() if not key.startswith("model.")
} | {"preferences.max_new_tokens": 200, "rejection.max_new_tokens": 200}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tied embeddings, stretched angles, a byte-level vocabulary with ChatML."""
    folder = tmp_path_factory.mktemp("base") / "smol"
    words = ["Where does Bena live? She lives in the valley, and 12 llamas carry salt to it."] * 50
    families.smollm(folder, words)
    tokenizer = load_tokenizer(folder)
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size,
        dim=48,
        num_layers=2,
        num_heads=3,
        num_kv_heads=1,
        ffn_dim=64,
        context=768,
        tie_embeddings=True,
        rope_scaling="llama3",
        rope_factor=8.0,
        rope_original_context=64,
    )
    save_language_model(LanguageModel.fresh(config, 0), folder, tokenizer.special)
    return folder


@pytest.mark.slow
def test_every_stage_takes_it(base: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    drive(load_recipe("tiny", KEYS | {"base": str(base)}), run, lambda line: None)
    folder = run / "08-ppo-v1" / "model"
    template = json.loads((folder / "tokenizer_config.json").read_text())["chat_template"]
    assert template == families.CHATML_TEMPLATE
    messages = [Message("user", "Where does Bena live?")]
    ids = encode_prompt(load_tokenizer(folder), messages)
    theirs = AutoTokenizer.from_pretrained(folder)
    assert ids == theirs.apply_chat_template(
        [{"role": "user", "content": messages[0].content}],
        add_generation_prompt=True,
        return_dict=False,
    )
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokens = torch.tensor([ids])
    with torch.no_grad():
        difference = load_language_model(folder)(tokens) - model(tokens).logits
    assert float(difference.abs().max()) < 1e-4
    assert model.config.tie_word_embeddings
    assert load_chat(folder).answer(messages, max_new_tokens=20, temperature=0) is not None
    learned = json.loads((run / "03-sft" / "results.json").read_text())
    assert learned["train_loss"] < 5.0


@pytest.mark.slow
def test_without_pretraining_its_weights_stay(base: Path, tmp_path: Path) -> None:
    keys = KEYS | {"base": str(base), "pretrain.num_tokens": 0}
    run = tmp_path / "run"
    drive(load_recipe("tiny", keys), run, lambda line: None, until="pretrain")
    kept = load_language_model(run / "02-pretrain" / "model").state_dict()
    for name, tensor in load_language_model(base).state_dict().items():
        assert torch.equal(kept[name], tensor)
    results = json.loads((run / "02-pretrain" / "results.json").read_text())
    assert results["train_loss"] is None
    assert results["perplexity"] > 1


def test_what_is_refused(base: Path) -> None:
    with pytest.raises(UserError, match="no such model folder"):
        load_recipe("tiny", {"base": "/nowhere"})
    with pytest.raises(UserError, match=r"--model\.dim"):
        load_recipe("tiny", {"base": str(base), "model.dim": 64})
    with pytest.raises(UserError, match="only a model that `base` names"):
        load_recipe("tiny", {"pretrain.num_tokens": 0})
    with pytest.raises(UserError, match=r"pretrain\.row_length is 1024, the model's context 768"):
        load_recipe("tiny", {"base": str(base), "pretrain.row_length": 1024})
