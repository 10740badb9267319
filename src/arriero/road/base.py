"""The model that a run starts from: a folder, or a model of the hub by `hf:owner/name`."""

from __future__ import annotations

import importlib
from fnmatch import fnmatch
from pathlib import Path

from arriero.data.files import HUB_PREFIX, is_hub, missing_package
from arriero.model.config import ModelConfig
from arriero.model.weights import shape_of
from arriero.model.weights.hugging_face_config import read_config
from arriero.model.weights.tensor_files import weight_paths
from arriero.records import UserError

# Weights as safetensors, configuration and tokenizer: nothing that could be executed.
_PATTERNS = ("*.json", "*.safetensors", "tokenizer.model", "*.jinja")
_TOKENIZERS = ("tokenizer.json", "tokenizer.model")


def local_base(base: str) -> Path | None:
    """The folder of a base that is on this machine; None for one of the hub that is not yet.

    Others may have fetched parts of a snapshot alone, a tokenizer for instance: these do not count.
    """
    if not is_hub(Path(base)):
        return Path(base)
    try:
        folder = _snapshot(base, local_only=True)
    except (ImportError, OSError, ValueError):
        return None
    return None if _missing(folder) else folder


def fetched_base(base: str, expected: ModelConfig | None = None) -> Path:
    """The folder of a base, fetched from the hub where that is needed.

    Args:
        expected: the shape that the recipe counts on.

    Raises:
        UserError: huggingface_hub is not installed, the hub does not have the whole model or cannot
            be reached, or it has another shape.
    """
    folder = local_base(base)
    if folder is None:
        try:
            folder = _snapshot(base, local_only=False)
        except ImportError as error:
            raise missing_package(base, "huggingface_hub") from error
        except (OSError, ValueError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise UserError(f"{base}: {reason}; check the name and the network") from error
        # Without a network the hub gives what is here, whole or not.
        if reason := _missing(folder):
            raise UserError(f"{base} is not here whole ({reason}); check the name and the network")
    if expected is not None and shape_of(folder) != expected:
        raise UserError(f"{base} has another shape than [model] says; leave [model] out")
    return folder


def base_files(base: str, folder: Path) -> list[Path]:
    """The files of a base's folder by name; of a snapshot, which is shared, those fetched here."""
    files = sorted(filter(Path.is_file, folder.iterdir()))
    if not is_hub(Path(base)):
        return files
    return [file for file in files if any(fnmatch(file.name, pattern) for pattern in _PATTERNS)]


def _missing(folder: Path) -> str:
    """What a snapshot lacks of a model with its tokenizer, "" where it has all."""
    try:
        read_config(folder)
        weight_paths(folder)
    except UserError as error:
        return str(error)
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        return f"{folder}: no {' or '.join(_TOKENIZERS)}"
    return ""


def _snapshot(base: str, *, local_only: bool) -> Path:
    # By name: the base must not depend on what an extra brings.
    hub = importlib.import_module("huggingface_hub")
    name = base.removeprefix(HUB_PREFIX)
    patterns = list(_PATTERNS)
    return Path(hub.snapshot_download(name, allow_patterns=patterns, local_files_only=local_only))
