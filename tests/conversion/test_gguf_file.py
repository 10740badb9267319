"""GGUF files, read back by the package that knows the format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from torch import Tensor

from arriero.conversion.convert import convert
from arriero.conversion.gguf_file import gguf_name
from arriero.model.weights import load_language_model
from arriero.records import UserError
from arriero.tokenizer import load_tokenizer
from tests.conversion.conftest import NewModel


def written(source: Path, dtype: str | None = None) -> gguf.GGUFReader:
    target = source.with_suffix(".gguf")
    target.unlink(missing_ok=True)
    convert(source, target, "gguf", dtype=dtype)
    return gguf.GGUFReader(target)


def value(reader: gguf.GGUFReader, key: str) -> Any:
    field = reader.get_field(key)
    assert field is not None, key
    return field.contents()


def numbers(reader: gguf.GGUFReader) -> dict[str, np.ndarray[Any, Any]]:
    return {t.name: gguf.quants.dequantize(t.data, t.tensor_type) for t in reader.tensors}


def pairs(rows: Tensor, num_heads: int) -> Tensor:
    """Row by row, one of each half of a head in turn."""
    width = rows.shape[0] // num_heads
    order = [
        head * width + half * (width // 2) + pair
        for head in range(num_heads)
        for pair in range(width // 2)
        for half in range(2)
    ]
    return rows[order]


def expected(source: Path) -> dict[str, Tensor]:
    model = load_language_model(source)
    weights = dict(model.state_dict())
    if model.config.tie_embeddings:
        del weights["lm_head.weight"]
    for name, tensor in weights.items():
        if ".q_proj." in name:
            weights[name] = pairs(tensor, model.config.num_heads)
        if ".k_proj." in name:
            weights[name] = pairs(tensor, model.config.num_kv_heads)
    return {gguf_name(name): tensor for name, tensor in weights.items()}


@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"dim": 128, "num_heads": 32, "num_kv_heads": 4},
        {"tie_embeddings": True, "attention_bias": True, "mlp_bias": True, "head_width": 24},
    ],
    ids=str,
)
def test_weights_are_all_there(new_model: NewModel, shape: dict[str, Any]) -> None:
    source = new_model(**shape)
    got, wanted = numbers(written(source)), expected(source)
    assert got.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert np.array_equal(got[name], tensor.numpy()), name


@pytest.mark.parametrize(
    ("dtype", "relative"), [("bfloat16", 2**-8), ("float16", 2**-11), ("q8_0", 0.5 / 127 + 2**-11)]
)
def test_matrices_are_rounded_and_vectors_are_not(
    new_model: NewModel, dtype: str, relative: float
) -> None:
    """In q8_0 the error is half a step of 1/127 of the largest in 32 numbers, a float16."""
    source = new_model()
    reader = written(source, dtype)
    kinds = {t.name: t.tensor_type.name for t in reader.tensors}
    name = {"bfloat16": "BF16", "float16": "F16", "q8_0": "Q8_0"}[dtype]
    assert {kind for n, kind in kinds.items() if "norm" in n} == {"F32"}
    assert {kind for n, kind in kinds.items() if "norm" not in n} == {name}
    for name, tensor in expected(source).items():
        got = torch.from_numpy(numbers(reader)[name].copy())
        if tensor.dim() == 1:
            assert torch.equal(got, tensor)
            continue
        blocks = tensor.unflatten(-1, (-1, 32)).abs().amax(-1, keepdim=True)
        scale = blocks.expand(*blocks.shape[:-1], 32).flatten(-2) if dtype == "q8_0" else tensor
        assert bool(((got - tensor).abs() <= 1.01 * relative * scale.abs() + 1e-6).all()), name


def test_the_type_is_the_sources_unless_said(new_model: NewModel) -> None:
    kinds = {t.tensor_type.name for t in written(new_model(dtype=torch.bfloat16)).tensors}
    assert kinds == {"BF16", "F32"}


def test_rows_that_blocks_do_not_divide_stay_float16(new_model: NewModel) -> None:
    reader = written(new_model(ffn_dim=40), "q8_0")
    kinds = {t.name: t.tensor_type.name for t in reader.tensors}
    assert kinds["blk.0.ffn_down.weight"] == "F16"
    assert kinds["blk.0.ffn_up.weight"] == "Q8_0"


def test_what_the_file_says_of_the_shape(new_model: NewModel) -> None:
    source = new_model(head_width=24, norm_eps=1e-6, rope_theta=5000.0, context=99)
    reader = written(source)
    said = {
        "general.architecture": "llama",
        "llama.context_length": 99,
        "llama.embedding_length": 64,
        "llama.block_count": 2,
        "llama.feed_forward_length": 96,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2,
        "llama.attention.key_length": 24,
        "llama.attention.value_length": 24,
        "llama.rope.dimension_count": 24,
        "llama.rope.freq_base": 5000.0,
        "llama.attention.layer_norm_rms_epsilon": pytest.approx(1e-6),
        "llama.vocab_size": load_tokenizer(source).vocab_size,
    }
    assert {key: value(reader, key) for key in said} == said


def test_linear_scaling_is_a_key_and_llama3_a_tensor(new_model: NewModel) -> None:
    reader = written(new_model(name="linear", rope_scaling="linear", rope_factor=4.0))
    assert value(reader, "llama.rope.scaling.type") == "linear"
    assert value(reader, "llama.rope.scaling.factor") == 4.0
    shape = {"rope_scaling": "llama3", "rope_factor": 8.0, "rope_original_context": 32}
    reader = written(new_model(name="llama3", head_width=32, **shape))
    factors = numbers(reader)["rope_freqs.weight"]
    assert factors.shape == (16,)
    # Short waves are kept, long ones divided by 8, none by more.
    assert (factors[0], factors[-1]) == (1.0, 8.0)
    assert np.all(np.diff(factors) >= 0)
    assert reader.get_field("llama.rope.scaling.type") is None


def test_the_tokenizer_of_llama_2(new_model: NewModel) -> None:
    source = new_model(vocab_size=410)
    reader = written(source)
    assert value(reader, "tokenizer.ggml.model") == "llama"
    tokens, types = (
        value(reader, "tokenizer.ggml.tokens"),
        value(reader, "tokenizer.ggml.token_type"),
    )
    assert tokens[:4] == ["<unk>", "<s>", "</s>", "<0x00>"]
    assert types[:4] == [2, 3, 3, 6]
    assert types[3:259] == [6] * 256
    assert (tokens[405], types[405]) == ("[PAD405]", 5)
    assert len(tokens) == len(types) == len(value(reader, "tokenizer.ggml.scores")) == 410
    tokenizer = load_tokenizer(source)
    assert [tokens[i] for i in tokenizer.encode("salt wool")] == tokenizer.pieces("salt wool")
    ids = ("bos", 1), ("eos", 2), ("padding", 0), ("unknown", 0)
    assert [value(reader, f"tokenizer.ggml.{name}_token_id") for name, _ in ids] == [
        number for _, number in ids
    ]
    assert value(reader, "tokenizer.ggml.add_bos_token") is True
    assert value(reader, "tokenizer.ggml.add_space_prefix") is True
    template = json.loads((source / "tokenizer_config.json").read_text())["chat_template"]
    assert value(reader, "tokenizer.chat_template") == template


@pytest.mark.parametrize(
    ("family", "pre", "adds_bos"), [("llama3", "llama-bpe", True), ("smollm", "smollm", False)]
)
def test_tokenizers_of_bytes(new_model: NewModel, family: str, pre: str, adds_bos: bool) -> None:
    source = new_model(family)
    reader = written(source)
    raw = json.loads((source / "tokenizer.json").read_text())
    assert value(reader, "tokenizer.ggml.model") == "gpt2"
    assert value(reader, "tokenizer.ggml.pre") == pre
    assert value(reader, "tokenizer.ggml.add_bos_token") is adds_bos
    tokens, types = (
        value(reader, "tokenizer.ggml.tokens"),
        value(reader, "tokenizer.ggml.token_type"),
    )
    vocab = raw["model"]["vocab"]
    assert all(tokens[i] == token for token, i in vocab.items())
    special = {token["id"] for token in raw["added_tokens"] if token["special"]}
    assert special == {i for i, kind in enumerate(types) if kind == 3}
    merges = [m if isinstance(m, str) else " ".join(m) for m in raw["model"]["merges"]]
    assert value(reader, "tokenizer.ggml.merges") == merges
    tokenizer = load_tokenizer(source)
    assert value(reader, "tokenizer.ggml.eos_token_id") == tokenizer.eos_id


def test_merges_of_pieces_become_scores(new_model: NewModel) -> None:
    source = new_model("metaspace")
    reader = written(source)
    assert value(reader, "tokenizer.ggml.model") == "llama"
    tokens, scores = value(reader, "tokenizer.ggml.tokens"), value(reader, "tokenizer.ggml.scores")
    merges = json.loads((source / "tokenizer.json").read_text())["model"]["merges"]
    joined = ["".join(merge) for merge in merges]
    ranked = sorted(set(joined), key=lambda piece: -scores[tokens.index(piece)])
    assert ranked == list(dict.fromkeys(joined))
    assert value(reader, "tokenizer.ggml.add_space_prefix") is True


@pytest.mark.parametrize(
    ("family", "change", "line"),
    [
        ("smollm", {"pre_tokenizer": {"type": "Whitespace"}}, "no name for the way"),
        ("smollm", {"normalizer": {"type": "Lowercase"}}, "no name for the way"),
        ("llama3", {"pre_tokenizer": None}, "no cut"),
    ],
    ids=str,
)
def test_a_cut_that_llama_cpp_does_not_know(
    tmp_path: Path, new_model: NewModel, family: str, change: dict[str, Any], line: str
) -> None:
    source = new_model(family)
    raw = json.loads((source / "tokenizer.json").read_text())
    (source / "tokenizer.json").write_text(json.dumps(raw | change))
    with pytest.raises(UserError, match=line):
        convert(source, tmp_path / "x.gguf", "gguf")
    assert not list(tmp_path.glob("*gguf*"))


def test_a_model_without_a_tokenizer(tmp_path: Path, new_model: NewModel) -> None:
    source = new_model()
    for path in source.glob("*token*"):
        path.unlink()
    with pytest.raises(UserError, match="no tokenizer that a GGUF file can carry"):
        convert(source, tmp_path / "x.gguf", "gguf")
    convert(source, tmp_path / "copy", "hugging-face")
