"""Whether the weights of a folder are still what their maker left.

A flipped bit in a safetensors file loads without a word. Where arriero made the model, a
manifest.json names the SHA-256 of every file: in the folder itself, or, in a run, beside it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from arriero.records import UserError


def check_hashes(folder: Path, paths: Iterable[Path]) -> int:
    """Compare files with what a manifest says of them; returns how many it speaks of.

    Raises:
        UserError: a file has another hash.
    """
    known = recorded_hashes(folder)
    checked = 0
    for path in paths:
        expected = known.get(path.name)
        if expected is None:
            continue
        if sha256(path) != expected:
            raise UserError(
                f"{path}: damaged (its SHA-256 is not the one in manifest.json); "
                "make the model again or take another copy"
            )
        checked += 1
    return checked


def recorded_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 by file name, from a manifest in the folder or in the one around it."""
    hashes: dict[str, str] = {}
    folder = folder.absolute()
    for manifest, prefix in (
        (folder.parent / "manifest.json", f"{folder.name}/"),
        (folder / "manifest.json", ""),
    ):
        try:
            outputs: Any = json.loads(manifest.read_text(encoding="utf-8"))["outputs"]
            items = list(cast(dict[str, Any], outputs).items())
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            continue  # none, or somebody else's
        for name, digest in items:
            if name.startswith(prefix) and isinstance(digest, str):
                hashes[name.removeprefix(prefix)] = digest
    return hashes


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
