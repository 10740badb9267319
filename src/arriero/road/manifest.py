"""What a finished stage was made of; a stage whose manifest still matches is not run again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from arriero.data.files import is_hub
from arriero.stages.workspace import hash_file, write_json

# Among a stage's inputs, what stands for the files from outside the run.
FILES = "files"


@dataclass(frozen=True, slots=True)
class Manifest:
    """manifest.json of a stage.

    `key` is the hash of everything that the result follows from: configuration, seed, code
    version and the inputs' own hashes. `outputs` are the SHA-256 of the files it left.
    `peak_memory_gb` is the process's since it started, earlier stages included.
    """

    stage: str
    version: str
    seed: int
    key: str
    inputs: dict[str, str]
    outputs: dict[str, str]
    seconds: float
    watts: float
    energy_wh: float
    co2_g: float
    peak_memory_gb: float | None = None


def stage_key(stage: str, version: str, seed: int, config: Any, inputs: dict[str, str]) -> str:
    """SHA-256 over all that a stage's result follows from."""
    facts = {"stage": stage, "version": version, "seed": seed, "config": config, "inputs": inputs}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a finished stage; None if it is not finished or not readable."""
    try:
        return Manifest(**json.loads((folder / "manifest.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def current_stages(run: Path) -> dict[str, Manifest]:
    """Finished stages of a run that still follow from one another, by folder name.

    A stage whose inputs were made again since then is left out, and all that follow from it.
    """
    current: dict[str, Manifest] = {}
    for folder in sorted(run.iterdir()) if run.is_dir() else []:
        manifest = read_manifest(folder)
        if manifest is not None and all(
            name in current and current[name].key == key
            for name, key in manifest.inputs.items()
            if name != FILES
        ):
            current[folder.name] = manifest
    return current


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.json; it is the last file of a stage, so it says that the others stand."""
    write_json(folder / "manifest.json", asdict(manifest))


def is_intact(folder: Path, manifest: Manifest) -> bool:
    """Whether every output still has the hash that the manifest names."""
    return all(
        (folder / name).is_file() and hash_file(folder / name) == digest
        for name, digest in manifest.outputs.items()
    )


def hash_outputs(folder: Path) -> dict[str, str]:
    """SHA-256 of what a stage left for others: results, data and models."""
    return {
        str(path.relative_to(folder)): hash_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not _is_passing(path.relative_to(folder))
    }


def hash_inputs(parts: Mapping[str, Iterable[Path]]) -> str:
    """One hash over the contents of input files, in order; a hub id stands for its contents.

    Args:
        parts: the files by what they are read as: moved from one part to another, a file makes
            another hash.
    """
    digest = hashlib.sha256()
    for part, paths in parts.items():
        digest.update(f"{part}\0\0".encode())
        for path in paths:
            content = str(path) if is_hub(path) else hash_file(path)
            digest.update(f"{path.name}\0{content}\0".encode())
    return digest.hexdigest()


def _is_passing(path: Path) -> bool:
    """Files that a result does not follow from, or that go when it stands."""
    names = {"manifest.json", "metrics.jsonl", "started.json"}
    folders = {"checkpoints", "tensorboard", "wandb"}
    return path.name in names or path.parts[0] in folders or path.name.startswith(".")
