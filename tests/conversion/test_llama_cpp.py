"""llama.cpp runs what was converted: the same logits, and the same ids for the same text."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from arriero.conversion.convert import convert
from arriero.model.weights import load_language_model
from arriero.records import Message
from arriero.tokenizer import encode_prompt, load_tokenizer
from tests.conversion.conftest import TEXTS, NewModel

pytestmark = [pytest.mark.slow, pytest.mark.llamacpp]

LLAMA3: dict[str, Any] = {
    "rope_theta": 500_000.0,
    "rope_scaling": "llama3",
    "rope_factor": 8.0,
    "rope_original_context": 32,
}
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama 2": ("llama2", {}),
    "multi-query": ("llama2", {"num_kv_heads": 1}),
    "32/4 heads": ("llama2", {"dim": 256, "num_heads": 32, "num_kv_heads": 4}),
    "llama 1": ("llama2", {"num_kv_heads": 4, "norm_eps": 1e-6}),
    "padded vocabulary": ("llama2", {"vocab_size": 420}),
    "wider heads": ("llama2", {"head_width": 32}),
    "biases": ("llama2", {"attention_bias": True, "mlp_bias": True}),
    "linear scaling": ("llama2", {"rope_scaling": "linear", "rope_factor": 4.0}),
    "llama 3.1": ("llama3", LLAMA3),
    "llama 3.2: tied": ("llama3", {**LLAMA3, "rope_factor": 32.0, "tie_embeddings": True}),
    "SmolLM": ("smollm", {"dim": 72, "num_heads": 9, "num_kv_heads": 3, "tie_embeddings": True}),
    "pieces in a tokenizer.json": ("metaspace", {}),
}


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A file in llama.cpp, with keys and values in float32 and the logits of every position."""
    model = import_module("llama_cpp").Llama(
        str(path), n_ctx=128, logits_all=True, verbose=False, n_threads=1, type_k=0, type_v=0
    )
    try:
        yield model
    finally:
        model.close()


def logits_of(model: Any, ids: list[int]) -> Tensor:
    model.reset()
    model.eval(ids)
    return torch.from_numpy(np.array(model.scores[: len(ids)]))


@pytest.mark.parametrize(("family", "shape"), SHAPES.values(), ids=SHAPES)
def test_logits_and_ids(
    tmp_path: Path, new_model: NewModel, family: str, shape: dict[str, Any]
) -> None:
    source = new_model(family, **shape)
    convert(source, tmp_path / "x.gguf", "gguf")
    ours, tokenizer = load_language_model(source), load_tokenizer(source)
    draw = random.Random(0)
    ids = [draw.randrange(3, tokenizer.vocab_size) for _ in range(60)]
    letters = "abc XYZ 0123456789 .,!?'\"-\n ñé salt wool I'm don't 山🦙"
    texts = [*TEXTS[:5], *("".join(draw.choices(letters, k=40)) for _ in range(200))]
    with torch.no_grad():
        expected = ours(torch.tensor([ids]))[0]
    with opened(tmp_path / "x.gguf") as model:
        torch.testing.assert_close(logits_of(model, ids), expected, atol=1e-4, rtol=0)
        for text in texts:
            got = model.tokenize(text.encode(), add_bos=False, special=False)
            assert got == tokenizer.encode(text), repr(text)
        assert model.token_eos() == tokenizer.eos_id
        assert model.n_vocab() == ours.config.vocab_size


@pytest.mark.parametrize(
    ("dtype", "share"), [("bfloat16", 0.02), ("float16", 0.005), ("q8_0", 0.05)]
)
def test_rounded_types(tmp_path: Path, new_model: NewModel, dtype: str, share: float) -> None:
    """The error beside the spread of the logits; with q8_0 llama.cpp rounds activations, too."""
    source = new_model(dim=256, num_heads=8, num_kv_heads=2, ffn_dim=512)
    convert(source, tmp_path / "x.gguf", "gguf", dtype=dtype)
    ids = torch.randint(3, 400, (60,), generator=torch.Generator().manual_seed(0)).tolist()
    with torch.no_grad():
        expected = load_language_model(source)(torch.tensor([ids]))[0]
    with opened(tmp_path / "x.gguf") as model:
        error = (logits_of(model, ids) - expected).square().mean().sqrt()
    assert 0 < float(error) < share * float(expected.std())


def test_a_dialog_is_the_same_ids_in_a_chat(tmp_path: Path, new_model: NewModel) -> None:
    """The template goes along; one BOS an exchange, and not two at the start."""
    formats = import_module("llama_cpp.llama_chat_format")
    source = new_model()
    convert(source, tmp_path / "x.gguf", "gguf")
    tokenizer = load_tokenizer(source)
    messages = [
        Message("system", "Be brief."),
        Message("user", "salt or wool?"),
        Message("assistant", "salt"),
        Message("user", "why?"),
    ]
    turns = [{"role": message.role, "content": message.content} for message in messages]
    with opened(tmp_path / "x.gguf") as model:
        template = model.metadata["tokenizer.chat_template"]
        raw = json.loads((source / "tokenizer_config.json").read_text())
        assert template == raw["chat_template"]
        layout = formats.Jinja2ChatFormatter(template, eos_token="</s>", bos_token="<s>")
        prompt = layout(messages=turns).prompt
        ids = model.tokenize(prompt.encode(), add_bos=False, special=True)
    assert ids == encode_prompt(tokenizer, messages)
