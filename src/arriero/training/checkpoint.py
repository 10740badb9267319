"""Checkpoints that survive a kill: temporary folder, fsync, hashes, rename; safetensors and JSON.

Every rank writes what it holds, and a job of other ranks puts it together for itself. No pickle
anywhere. A checkpoint whose hash does not match is passed over for the one before it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import (
    HuggingFaceStorageReader,
    HuggingFaceStorageWriter,
)
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from arriero.records import UserError
from arriero.training.parallel import reshard
from arriero.training.ranks import ALONE, Ranks

_KEPT = 2
_TENSORS = "tensors.safetensors"

Modules = Mapping[str, nn.Module]
Optimizers = Mapping[str, torch.optim.Optimizer]


def save_checkpoint(
    folder: Path,
    step: int,
    modules: Modules,
    optimizers: Optimizers,
    state: dict[str, Any],
    *,
    ranks: Ranks = ALONE,
    keep_every: int = 0,
) -> None:
    """Write `folder/step-N`, whole or not at all, and keep the newest two.

    Args:
        step: steps done so far; the run goes on with this number.
        modules, optimizers: what is trained, by name.
        state: anything else that JSON holds (best score so far, counters).
        ranks: all of them call this together.
        keep_every: steps that are a multiple of it are kept for good; 0 keeps none.

    Raises:
        OSError: a rank could not write its part.
    """
    temporary = folder / f".step-{step:08d}.tmp"
    if ranks.is_first:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
    ranks.barrier()
    for module in modules.values():
        reshard(module)
    tensors = _weights(modules) | _moments(modules, optimizers)
    if ranks.mesh is None:
        save_file({key: value.contiguous() for key, value in tensors.items()}, temporary / _TENSORS)
    else:
        writer = HuggingFaceStorageWriter(path=str(temporary), save_distributed=True)
        try:
            save(tensors, storage_writer=writer)
        except CheckpointException as error:  # no Exception: nobody else would catch it
            raise _cause(error) from None
    if ranks.is_first:
        _finish(folder, temporary, step, state, keep_every)
    ranks.wait()


def load_checkpoint(
    folder: Path, modules: Modules, optimizers: Optimizers, *, ranks: Ranks = ALONE
) -> dict[str, Any] | None:
    """Fill modules and optimizers from the newest whole checkpoint; returns its state.

    None if there is none to go on from. The state's `step` is the number of steps done. The ranks
    may be others than those that wrote it.

    Raises:
        UserError: the checkpoint is of a model of another shape.
    """
    path = ranks.agreed(_newest_whole(folder) if ranks.is_first else None)
    if path is None:
        return None
    names = _names(path)
    wanted = _weights(modules)
    wanted |= {key: room for key in names if (room := _room_for(key, wanted)) is not None}
    if set(names) != set(wanted):
        name = sorted(set(names) ^ set(wanted))[0]
        raise UserError(f"{path} is of another model ({name}); remove its folder to start anew")
    try:
        _read(path, wanted, ranks)
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"{path} is of a model of another shape ({error}); remove its folder to start anew"
        ) from None
    _give_moments(modules, optimizers, wanted)
    return json.loads((path / "state.json").read_text(encoding="utf-8"))


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


def _finish(
    folder: Path, temporary: Path, step: int, state: dict[str, Any], keep_every: int
) -> None:
    """What the tensors still lack to be a checkpoint, and what older ones are then for."""
    whole = {"step": step, "milestone": bool(keep_every and step % keep_every == 0), **state}
    (temporary / "state.json").write_text(json.dumps(whole), encoding="utf-8")
    hashes = {path.name: hash_file(path) for path in sorted(temporary.iterdir())}
    (temporary / "manifest.json").write_text(json.dumps(hashes), encoding="utf-8")
    for path in temporary.iterdir():
        _sync(path)
    final = folder / f"step-{step:08d}"
    shutil.rmtree(final, ignore_errors=True)
    temporary.rename(final)
    _sync(folder)
    for old in sorted(folder.glob("step-*"))[:-_KEPT]:
        if not _is_milestone(old):
            shutil.rmtree(old)


def clear_checkpoints(folder: Path) -> None:
    """Remove what a finished stage needs no more: all but the milestones."""
    for path in folder.iterdir() if folder.is_dir() else ():
        # What a kill left half-written begins with a dot.
        if path.name.startswith(".") or not _is_milestone(path):
            shutil.rmtree(path, ignore_errors=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _is_milestone(path: Path) -> bool:
    try:
        state: dict[str, Any] = json.loads((path / "state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return state.get("milestone") is True


def _cause(error: CheckpointException) -> Exception:
    """What kept a rank from its part, the system's own word before others."""
    causes = [wrapped[0] for wrapped in error.failures.values()]
    return next(
        (cause for cause in causes if isinstance(cause, OSError)),
        ValueError("; ".join(map(str, causes))),
    )


def _newest_whole(folder: Path) -> Path | None:
    for path in sorted(folder.glob("step-*"), reverse=True):
        if _is_whole(path):
            return path
        print(f"{path}: damaged, going on from the checkpoint before it", flush=True)
    return None


def _weights(modules: Modules) -> dict[str, Tensor]:
    """The parameters by name, sharing their memory."""
    return {
        f"module/{name}/{key}": parameter.detach()
        for name, module in modules.items()
        for key, parameter in module.named_parameters()
    }


def _parameter_names(modules: Modules) -> dict[Tensor, str]:
    return {
        parameter: f"{name}/{key}"
        for name, module in modules.items()
        for key, parameter in module.named_parameters()
    }


def _moments(modules: Modules, optimizers: Optimizers) -> dict[str, Tensor]:
    """What the optimizers remember of each parameter, by the parameter's name."""
    names = _parameter_names(modules)
    return {
        f"optimizer/{name}/{names[parameter]}/{field}": value
        for name, optimizer in optimizers.items()
        for parameter, fields in optimizer.state.items()
        for field, value in fields.items()
    }


def _give_moments(modules: Modules, optimizers: Optimizers, tensors: Mapping[str, Tensor]) -> None:
    by_name = {name: parameter for parameter, name in _parameter_names(modules).items()}
    for key, value in tensors.items():
        if key.startswith("optimizer/"):
            name, _, rest = key.removeprefix("optimizer/").partition("/")
            place, _, field = rest.rpartition("/")
            optimizers[name].state[by_name[place]][field] = value


def _room_for(key: str, weights: Mapping[str, Tensor]) -> Tensor | None:
    """Zeros where a tensor of an optimizer goes; None if the parameter is not there."""
    if not key.startswith("optimizer/"):
        return None
    place, _, field = key.removeprefix("optimizer/").partition("/")[2].rpartition("/")
    parameter = weights.get(f"module/{place}")
    if parameter is None or field != "step":
        return None if parameter is None else torch.zeros_like(parameter)
    return torch.zeros((), device=parameter.device)


def _names(path: Path) -> list[str]:
    """The tensors of a checkpoint."""
    found: set[str] = set()
    for file in path.glob("*.safetensors"):
        with safe_open(file, "pt") as tensors:
            found.update(tensors.keys())
    return sorted(found)


def _read(path: Path, tensors: dict[str, Tensor], ranks: Ranks) -> None:
    """Fill the tensors in place, each rank its parts."""
    if ranks.mesh is None and (path / _TENSORS).exists():
        for key, value in load_file(path / _TENSORS).items():
            if value.shape != tensors[key].shape:
                raise ValueError(f"{key}: {list(value.shape)} for {list(tensors[key].shape)}")
            tensors[key].copy_(value)
        return
    with warnings.catch_warnings():
        # That this is one process is no mistake.
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        reader = HuggingFaceStorageReader(str(path))
        try:
            load(tensors, storage_reader=reader, no_dist=ranks.mesh is None)
        except CheckpointException as error:
            raise _cause(error) from None


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
