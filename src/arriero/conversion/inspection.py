"""`arriero inspect`: what a model folder holds, without running anything of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from arriero.conversion.gguf_vocabulary import chat_template
from arriero.conversion.source import Source, open_source, tokenizer_code
from arriero.model.config import ModelConfig
from arriero.model.weights import is_meta
from arriero.model.weights.hugging_face_config import CONFIG, asks_for_code, read_config
from arriero.model.weights.integrity import recorded_hashes, sha256
from arriero.model.weights.lazy import LazyTensor
from arriero.model.weights.shapes import EMBEDDING
from arriero.model.weights.tensor_files import total_numbers
from arriero.records import UserError

_CHEAP = 256 * 2**20
"""Bytes of a file up to which its hash is taken unasked; about a second."""

_PARTS = (
    ("embedding", re.compile(re.escape(EMBEDDING))),
    ("attention", re.compile(r".*\.self_attn\..*")),
    ("feed-forward", re.compile(r".*\.mlp\..*")),
    ("norms", re.compile(r".*norm\.weight")),
    ("head", re.compile(r"(lm_head|score)\.weight")),
)


def inspect_model(folder: Path, *, check: bool = False) -> Iterator[str]:
    """Lines that say what a model folder holds.

    Args:
        folder: in Hugging Face's layout or in Meta's.
        check: read all weights, too, and take the hash of every file.

    Raises:
        UserError: no model, a damaged one; with `check`, also weights that are not finite. A model
            that asks for code of its own is described as far as its files tell.
    """
    code = _code_asked_for(folder)
    if code and code[0].startswith(CONFIG):
        yield from _without_weights(folder)
    else:
        source = open_source(folder)
        yield from _model(source)
        if check:
            _refuse_what_is_not_finite(source)
            yield _line("numbers", "all finite")
    yield from _files(folder, check)
    yield _line("remote code", f"{', '.join(code)}: never run" if code else "none asked for")


def _model(source: Source) -> Iterator[str]:
    config, tensors = source.checkpoint.config, source.checkpoint.tensors
    kind = {"language": "LlamaForCausalLM", "score": "reward model, one score a token"}
    layout = {"hugging-face": "Hugging Face", "meta": "Meta"}[source.layout]
    yield _line("architecture", f"{kind[source.checkpoint.head]}, {layout} layout")
    yield _line("shape", _shape(config))
    yield _line("rotary", _rotary(config))
    yield _line("parameters", f"{total_numbers(tensors):,}")
    for part, pattern in _PARTS:
        count = total_numbers({n: t for n, t in tensors.items() if pattern.fullmatch(n)})
        if part == "head" and config.tie_embeddings and source.checkpoint.head == "language":
            yield _line("  head", "is the embedding")
        elif count:
            yield _line(f"  {part}", f"{count:,}")
    yield _line("type", _types(tensors))
    special = source.special
    ends = ", ".join(map(str, special.ends))
    yield _line("special ids", f"BOS {special.bos}, ends {ends}, padding {special.pad}")
    files = {path.name: path for path in source.tokenizer_files}
    if source.tokenizer is None:
        yield _line("tokenizer", "none")
        return
    named = next(name for name in ("tokenizer.model", "tokenizer.json", *files) if name in files)
    spare = config.vocab_size - source.tokenizer.vocab_size
    more = f", {spare} rows of the embedding without a token" if spare else ""
    yield _line("tokenizer", f"{named}, {source.tokenizer.vocab_size:,} tokens{more}")
    yield _line("chat template", "yes" if chat_template(files) else "no")


def _shape(config: ModelConfig) -> str:
    extras = [
        word
        for word, is_so in (
            ("tied embeddings", config.tie_embeddings),
            ("attention biases", config.attention_bias),
            ("feed-forward biases", config.mlp_bias),
        )
        if is_so
    ]
    parts = [
        f"{config.num_layers} layers of {config.dim}",
        f"{config.num_heads}/{config.num_kv_heads} heads of {config.head_dim}",
        f"SwiGLU {config.ffn_dim}",
        f"vocabulary {config.vocab_size:,}",
        f"context {config.context:,}",
        *extras,
    ]
    return ", ".join(parts)


def _rotary(config: ModelConfig) -> str:
    scaling = "" if config.rope_scaling == "none" else f", {config.rope_scaling} scaling"
    factor = f" by {config.rope_factor:g}" if scaling else ""
    return f"base {config.rope_theta:,.0f}{scaling}{factor}"


def _types(tensors: Mapping[str, LazyTensor]) -> str:
    counted = Counter(str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values())
    if len(counted) == 1:
        return next(iter(counted))
    return ", ".join(f"{name} ({count} weights)" for name, count in counted.most_common())


def _without_weights(folder: Path) -> Iterator[str]:
    raw = read_config(folder)
    architecture = ", ".join(map(str, raw.get("architectures") or ["unknown"]))
    yield _line("architecture", f"{architecture} (model type {raw.get('model_type')})")
    yield _line("weights", "not opened: the model asks for code of its own")


def _files(folder: Path, check: bool) -> Iterator[str]:
    known = recorded_hashes(folder)
    yield "files"
    paths = [path for path in sorted(folder.iterdir()) if path.is_file()]
    width = max((len(path.name) for path in paths), default=0)
    for path in paths:
        size = path.stat().st_size
        digest = sha256(path) if check or size <= _CHEAP else None
        state = "not hashed; --check does" if digest is None else f"SHA-256 {digest}"
        if digest is not None and path.name in known:
            state += " as made" if known[path.name] == digest else " CHANGED since it was made"
        yield f"  {path.name:<{width}}  {size:>15,} bytes  {state}"


def _code_asked_for(folder: Path) -> list[str]:
    """Where a folder asks for code of its own: its configurations, and code that lies in it."""
    found: list[str] = []
    if (folder / CONFIG).is_file():
        key = asks_for_code(read_config(folder))
        found += [f"{CONFIG} ({key})"] if key else []
    elif not is_meta(folder):
        read_config(folder)  # says what is wrong
    key = tokenizer_code(folder)
    found += [f"tokenizer_config.json ({key})"] if key else []
    return found + sorted(path.name for path in folder.glob("*.py"))


def _refuse_what_is_not_finite(source: Source) -> None:
    for name, lazy in source.checkpoint.tensors.items():
        if not bool(torch.isfinite(lazy.read()).all()):
            raise UserError(f"{source.folder}: {name} holds numbers that are not finite")


def _line(name: str, value: str) -> str:
    return f"{name:<16}{value}"
