"""config.json and generation_config.json: Hugging Face's words for our shape, both ways.

Both spellings are written: `rope_parameters` and `dtype` (transformers 5), `rope_theta`,
`rope_scaling` and `torch_dtype` (everything older, vLLM, llama.cpp). Either is read. What is not
plain Llama is refused by name, since it would load and then say nonsense.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from pydantic import ValidationError

from arriero.model.config import ModelConfig
from arriero.model.weights.json_files import read_json
from arriero.records import SpecialIds, UserError

CONFIG = "config.json"
GENERATION = "generation_config.json"

_SHAPE_KEYS = {
    "vocab_size": "vocab_size",
    "hidden_size": "dim",
    "num_hidden_layers": "num_layers",
    "num_attention_heads": "num_heads",
    "num_key_value_heads": "num_kv_heads",
    "head_dim": "head_width",
    "intermediate_size": "ffn_dim",
    "max_position_embeddings": "context",
    "rms_norm_eps": "norm_eps",
    "tie_word_embeddings": "tie_embeddings",
    "attention_bias": "attention_bias",
    "mlp_bias": "mlp_bias",
}
_NEEDED = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
)
_ROPE_KEYS = {
    "factor": "rope_factor",
    "low_freq_factor": "rope_low_frequency_factor",
    "high_freq_factor": "rope_high_frequency_factor",
    "original_max_position_embeddings": "rope_original_context",
}
_ROPE_NEEDS = {"linear": ("factor",), "llama3": tuple(_ROPE_KEYS)}


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a model folder."""
    path = folder / CONFIG
    if not folder.is_dir():
        raise UserError(f"{folder}: no such model folder")
    if not path.is_file():
        raise UserError(f"{folder}: not a model folder (no {CONFIG} in it)")
    return read_json(path)


def config_from_hugging_face(raw: Mapping[str, Any], folder: Path) -> ModelConfig:
    """Our shape from Hugging Face's keys.

    What is missing has the value that transformers gives it.

    Raises:
        UserError: what is not a plain Llama, asks for code of its own, or does not fit together.
    """
    path = folder / CONFIG
    _refuse_what_is_not_llama(raw, path)
    values: dict[str, Any] = {"context": 2048, "norm_eps": 1e-6}
    for theirs, ours in _SHAPE_KEYS.items():
        if raw.get(theirs) is not None:
            values[ours] = raw[theirs]
    for needed in _NEEDED:
        if _SHAPE_KEYS[needed] not in values:
            raise UserError(f"{path}: key '{needed}' is missing")
    values.setdefault("num_kv_heads", values["num_heads"])
    values |= _rotary_values(raw, path)
    try:
        config = ModelConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        theirs = {ours: name for name, ours in (_SHAPE_KEYS | _ROPE_KEYS).items()}.get(key, key)
        message = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{path}: {theirs + ': ' if theirs else ''}{message}") from None
    if config.head_width is not None and config.head_width * config.num_heads == config.dim:
        return config.model_copy(update={"head_width": None})  # as wide as it would be anyway
    return config


def asks_for_code(raw: Mapping[str, Any]) -> str | None:
    """The key with which a configuration asks for code of its own, if it does."""
    return next((key for key in ("auto_map", "trust_remote_code") if raw.get(key)), None)


def config_to_hugging_face(
    config: ModelConfig, dtype: torch.dtype, special: SpecialIds
) -> dict[str, Any]:
    """Hugging Face's keys from our shape."""
    name = str(dtype).removeprefix("torch.")
    rope: dict[str, Any] = {"rope_type": "default"}
    if config.rope_scaling != "none":
        rope["rope_type"] = config.rope_scaling
        for key in _ROPE_NEEDS[config.rope_scaling]:
            rope[key] = getattr(config, _ROPE_KEYS[key])
    return {
        "model_type": "llama",
        **{theirs: getattr(config, ours) for theirs, ours in _SHAPE_KEYS.items()},
        "head_dim": config.head_dim,
        "rope_theta": config.rope_theta,
        "rope_parameters": {**rope, "rope_theta": config.rope_theta},
        "rope_scaling": None if config.rope_scaling == "none" else rope,
        "hidden_act": "silu",
        **special_to_hugging_face(special),
        "torch_dtype": name,
        "dtype": name,
    }


def special_to_hugging_face(special: SpecialIds) -> dict[str, Any]:
    """Where a text begins and ends, and its padding: transformers finds the last token by it."""
    return {
        "bos_token_id": special.bos,
        "eos_token_id": special.ends[0] if len(special.ends) == 1 else list(special.ends),
        "pad_token_id": special.pad,
    }


def special_from_hugging_face(folder: Path) -> SpecialIds | None:
    """The special ids that a folder's configurations name; None if no end of an answer is named.

    generation_config.json has more to say: chat models end an answer by several ids. Ids outside
    the vocabulary count as not named.
    """
    raw = dict(read_config(folder))
    generation = folder / GENERATION
    if generation.is_file():
        raw |= {key: value for key, value in read_json(generation).items() if value is not None}
    ends: Any = raw.get("eos_token_id")
    ends = cast(list[Any], ends) if isinstance(ends, list) else [ends]
    size: Any = raw.get("vocab_size")

    def is_id(value: Any) -> bool:
        return type(value) is int and 0 <= value < size

    ids = [value for value in ends if is_id(value)]
    if not ids:
        return None
    bos: Any = raw.get("bos_token_id")
    pad: Any = raw.get("pad_token_id")
    fallback = next(number for number in range(len(ids) + 1) if number not in ids)
    return SpecialIds(
        bos=bos if is_id(bos) else None,
        ends=tuple(ids),
        pad=pad if is_id(pad) and pad not in ids else fallback,
    )


def _refuse_what_is_not_llama(raw: Mapping[str, Any], path: Path) -> None:
    folder = path.parent
    if raw.get("model_type") != "llama":
        raise UserError(
            f"{folder}: model type {raw.get('model_type')!r} is not supported, only llama"
        )
    key = asks_for_code(raw)
    if key is not None:
        raise UserError(
            f"{path}: asks for code of its own ({key}); arriero never runs code that comes with "
            "a model. If it is a plain Llama, take the key out"
        )
    if raw.get("quantization_config"):
        raise UserError(f"{path}: quantized weights are not supported; take the unquantized model")
    activation = raw.get("hidden_act", "silu")
    if activation not in ("silu", "swish"):
        raise UserError(f"{path}: hidden_act {activation!r} is not supported, only silu")


def _rotary_values(raw: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Our keys for base and scaling, from the older and the newer spelling."""
    rope: Any = raw.get("rope_scaling") or raw.get("rope_parameters") or {}
    if not isinstance(rope, dict):
        raise UserError(f"{path}: rope_scaling is not an object")
    rope = cast(dict[str, Any], rope)
    newer = cast(dict[str, Any], raw.get("rope_parameters") or {})
    theta = rope.get("rope_theta") or newer.get("rope_theta") or raw.get("rope_theta") or 10_000.0
    kind = rope.get("rope_type", rope.get("type", "default"))
    if (rope.get("partial_rotary_factor") or raw.get("partial_rotary_factor") or 1.0) != 1.0:
        raise UserError(f"{path}: rotary angles for a part of a head only are not supported")
    if kind == "default":
        return {"rope_theta": theta}
    if kind not in _ROPE_NEEDS:
        raise UserError(
            f"{path}: rotary scaling {kind!r} is not supported; there are linear and llama3"
        )
    values: dict[str, Any] = {"rope_theta": theta, "rope_scaling": kind}
    for key in _ROPE_NEEDS[kind]:
        if rope.get(key) is None:
            raise UserError(f"{path}: key '{key}' of the rotary scaling is missing")
        values[_ROPE_KEYS[key]] = rope[key]
    return values
