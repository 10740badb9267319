"""The model that a run starts from: a folder, or a model of the hub by `hf:owner/name`."""

from __future__ import annotations

import importlib
from pathlib import Path

from arriero.data.files import HUB_PREFIX, is_hub, missing_package
from arriero.model.config import ModelConfig
from arriero.model.weights import shape_of
from arriero.records import UserError

# Weights as safetensors, configuration and tokenizer: nothing that could be executed.
_PATTERNS = ("*.json", "*.safetensors", "tokenizer.model", "*.jinja")


def local_base(base: str) -> Path | None:
    """The folder of a base that is on this machine; None for one of the hub that is not yet."""
    if not is_hub(Path(base)):
        return Path(base)
    try:
        return _snapshot(base, local_only=True)
    except (OSError, ValueError):
        return None


def fetched_base(base: str, expected: ModelConfig | None = None) -> Path:
    """The folder of a base, fetched from the hub where that is needed.

    Args:
        expected: the shape that the recipe counts on.

    Raises:
        UserError: the hub does not have it or cannot be reached, or it has another shape.
    """
    folder = local_base(base)
    if folder is None:
        try:
            folder = _snapshot(base, local_only=False)
        except (OSError, ValueError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise UserError(f"{base}: {reason}; check the name and the network") from error
    if expected is not None and shape_of(folder) != expected:
        raise UserError(f"{base} has another shape than [model] says; leave [model] out")
    return folder


def _snapshot(base: str, *, local_only: bool) -> Path:
    try:
        # By name: the base must not depend on what an extra brings.
        hub = importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise missing_package(base, "huggingface_hub") from error
    name = base.removeprefix(HUB_PREFIX)
    patterns = list(_PATTERNS)
    return Path(hub.snapshot_download(name, allow_patterns=patterns, local_files_only=local_only))
