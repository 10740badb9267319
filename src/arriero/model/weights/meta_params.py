"""params.json of Meta's checkpoints, both ways.

It says less than a configuration has to. Widths are taken from the weights themselves; the context
of a model is known only for the released families, by the base of their rotary angles, unless the
caller says it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from arriero.model.config import ModelConfig
from arriero.model.weights.json_files import read_json
from arriero.records import UserError

PARAMS = "params.json"

_NEEDED = {"dim": "dim", "n_layers": "num_layers", "n_heads": "num_heads"}

# Llama 3.2's small models stretch by 32, all others by 8; params.json does not tell them apart.
_SMALL_DIM, _SMALL_FACTOR, _FACTOR = 3072, 32.0, 8.0


def read_params(folder: Path) -> dict[str, Any]:
    """params.json with the keys that nothing can do without."""
    path = folder / PARAMS
    params = read_json(path)
    inner: Any = params.get("model")
    if isinstance(inner, dict):
        params = cast(dict[str, Any], inner)
    for key in _NEEDED:
        if not isinstance(params.get(key), int):
            raise UserError(f"{path}: key '{key}' is missing or no whole number")
    return params


def config_from_params(
    params: Mapping[str, Any],
    folder: Path,
    *,
    vocab_size: int,
    ffn_dim: int,
    tie_embeddings: bool,
    context: int | None,
) -> ModelConfig:
    """Our shape from Meta's keys and from what only the weights say.

    Args:
        params: from read_params.
        folder: named where something is wrong.
        vocab_size, ffn_dim: taken from the weights; Meta's Llama 2 has vocab_size -1.
        tie_embeddings: whether the output matrix equals the embedding.
        context: longest sequence in tokens; that of the released family if None.
    """
    theta = params.get("rope_theta") or 10_000.0
    values: dict[str, Any] = {ours: params[theirs] for theirs, ours in _NEEDED.items()}
    values |= {
        "num_kv_heads": params.get("n_kv_heads") or params["n_heads"],
        "vocab_size": vocab_size,
        "ffn_dim": ffn_dim,
        "norm_eps": params.get("norm_eps", 1e-5),
        "rope_theta": theta,
        "tie_embeddings": tie_embeddings,
    }
    if params.get("use_scaled_rope"):
        small = values["dim"] <= _SMALL_DIM
        values |= {"rope_scaling": "llama3", "rope_factor": _SMALL_FACTOR if small else _FACTOR}
    try:
        values["context"] = context or _family_context(params, float(theta))
        return ModelConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        message = first["msg"].removeprefix("Value error, ")
        key = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{folder / PARAMS}: {key + ': ' if key else ''}{message}") from None
    except (TypeError, ValueError):
        raise UserError(f"{folder / PARAMS}: rope_theta {theta!r} is no number") from None


def _family_context(params: Mapping[str, Any], theta: float) -> int:
    """Context of the released model with these keys."""
    if params.get("use_scaled_rope"):
        return 131_072  # Llama 3.1 and later
    if theta >= 1_000_000:
        return 16_384  # Code Llama
    if theta >= 500_000:
        return 8192  # Llama 3
    return 2048 if params.get("norm_eps") == 1e-6 else 4096  # Llama 1, Llama 2


def params_from_config(config: ModelConfig) -> dict[str, Any]:
    """Meta's keys from our shape.

    Raises:
        UserError: the shape has something that Meta's layout has no place for.
    """
    for is_odd, what in (
        (config.attention_bias or config.mlp_bias, "biases"),
        (config.head_width is not None, "heads that are not dim / num_heads wide"),
        (config.rope_scaling == "linear", "linear rotary scaling"),
        (config.rope_scaling == "llama3" and not _is_released_scaling(config), "such a scaling"),
    ):
        if is_odd:
            raise UserError(
                f"Meta's layout has no place for {what}; take --to hugging-face or gguf"
            )
    params: dict[str, Any] = {
        "dim": config.dim,
        "n_layers": config.num_layers,
        "n_heads": config.num_heads,
        "n_kv_heads": config.num_kv_heads,
        "vocab_size": config.vocab_size,
        "norm_eps": config.norm_eps,
        "rope_theta": config.rope_theta,
        **_width_rule(config.dim, config.ffn_dim),
    }
    if config.rope_scaling == "llama3":
        params["use_scaled_rope"] = True
    return params


def lost_in_params(config: ModelConfig) -> str | None:
    """What params.json cannot say and a way back would guess wrong; None if nothing."""
    guessed = _family_context(params_from_config(config), config.rope_theta)
    if guessed == config.context:
        return None
    return f"params.json does not name the context: say --context {config.context} on the way back"


def _is_released_scaling(config: ModelConfig) -> bool:
    factor = _SMALL_FACTOR if config.dim <= _SMALL_DIM else _FACTOR
    found = (
        config.rope_factor,
        config.rope_low_frequency_factor,
        config.rope_high_frequency_factor,
        config.rope_original_context,
    )
    return found == (factor, 1.0, 4.0, 8192)


def _width_rule(dim: int, ffn_dim: int) -> dict[str, Any]:
    """`multiple_of` and `ffn_dim_multiplier` from which Meta's code comes to this width.

    Its rule: two thirds of 4 * dim, times the multiplier, up to the next multiple.
    """
    base = int(2 * 4 * dim / 3)
    multiples = [2**power for power in (8, 10, 12, 9, 11, 7, 6, 5, 4, 3, 2, 1, 0)]
    for multiplier in (None, 1.3, 1.5, 1.4, 1.2, 1.1, 2.0, 1.0):
        for multiple in multiples:
            if _rule(base, multiplier, multiple) == ffn_dim:
                rule: dict[str, Any] = {"multiple_of": multiple}
                return rule if multiplier is None else rule | {"ffn_dim_multiplier": multiplier}
    return {"multiple_of": 1, "ffn_dim_multiplier": (ffn_dim + 0.5) / base}


def _rule(base: int, multiplier: float | None, multiple: int) -> int:
    width = base if multiplier is None else int(multiplier * base)
    return -(-width // multiple) * multiple
