"""Checkpoints that survive a kill: temporary folder, fsync, hashes, rename; safetensors and JSON.

No pickle anywhere. A checkpoint whose hash does not match is passed over for the one before it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

_KEPT = 2


def save_checkpoint(
    folder: Path,
    step: int,
    modules: dict[str, nn.Module],
    optimizers: dict[str, torch.optim.Optimizer],
    state: dict[str, Any],
) -> None:
    """Write `folder/step-N`, whole or not at all, and keep the newest two.

    Args:
        step: steps done so far; the run goes on with this number.
        modules, optimizers: what is trained, by name.
        state: anything else that JSON holds (best score so far, counters).
    """
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".step-{step:08d}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    save_file(_flatten(modules, optimizers), temporary / "tensors.safetensors")
    (temporary / "state.json").write_text(json.dumps({"step": step, **state}), encoding="utf-8")
    hashes = {path.name: hash_file(path) for path in sorted(temporary.iterdir())}
    (temporary / "manifest.json").write_text(json.dumps(hashes), encoding="utf-8")
    for path in temporary.iterdir():
        _sync(path)
    final = folder / f"step-{step:08d}"
    shutil.rmtree(final, ignore_errors=True)
    temporary.rename(final)
    _sync(folder)
    for old in sorted(folder.glob("step-*"))[:-_KEPT]:
        shutil.rmtree(old)


def load_checkpoint(
    folder: Path, modules: dict[str, nn.Module], optimizers: dict[str, torch.optim.Optimizer]
) -> dict[str, Any] | None:
    """Fill modules and optimizers from the newest whole checkpoint; returns its state.

    None if there is none to go on from. The state's `step` is the number of steps done.
    """
    for path in sorted(folder.glob("step-*"), reverse=True):
        if _is_whole(path):
            _unflatten(load_file(path / "tensors.safetensors"), modules, optimizers)
            return json.loads((path / "state.json").read_text(encoding="utf-8"))
        print(f"{path}: damaged, going on from the checkpoint before it", flush=True)
    return None


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_whole(path: Path) -> bool:
    try:
        hashes: dict[str, str] = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
        return all(hash_file(path / name) == digest for name, digest in hashes.items())
    except (OSError, ValueError):
        return False


def _flatten(
    modules: dict[str, nn.Module], optimizers: dict[str, torch.optim.Optimizer]
) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for name, module in modules.items():
        for key, value in module.state_dict().items():
            tensors[f"module/{name}/{key}"] = value.detach().clone().contiguous()
    for name, optimizer in optimizers.items():
        for index, entry in optimizer.state_dict()["state"].items():
            for key, value in entry.items():
                tensors[f"optimizer/{name}/{index}/{key}"] = value.detach().clone().contiguous()
    return tensors


def _unflatten(
    tensors: dict[str, Tensor],
    modules: dict[str, nn.Module],
    optimizers: dict[str, torch.optim.Optimizer],
) -> None:
    for name, module in modules.items():
        prefix = f"module/{name}/"
        module.load_state_dict(
            {key.removeprefix(prefix): v for key, v in tensors.items() if key.startswith(prefix)}
        )
    for name, optimizer in optimizers.items():
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith(f"optimizer/{name}/"):
                index, field = key.removeprefix(f"optimizer/{name}/").split("/")
                state.setdefault(int(index), {})[field] = value
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
