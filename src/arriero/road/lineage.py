"""Where a model of a run comes from: its ancestors, what each learned from, and by which keys.

`lineage.json` stands in a run's folder; `arriero run` writes it, also where it is stopped.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arriero.records import UserError
from arriero.road.manifest import FILES, Manifest, current_stages, stage_key
from arriero.road.run import Step

LINEAGE = "lineage.json"


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A stage of a run, as its lineage tells of it.

    Attributes:
        name: its folder.
        parents: the folders that it read.
        key: hash of all that its result follows from.
        config: its keys of the recipe; None where they are not known.
        model: SHA-256 of the weights it left; "" for a stage without a model.
        data: SHA-256 of the files of rows it left, by name.
        files: hash of what it read from outside the run; "" for nothing.
    """

    name: str
    verb: str
    parents: tuple[str, ...]
    key: str
    seed: int
    version: str
    config: Mapping[str, Any] | None
    model: str
    data: Mapping[str, str]
    files: str


def write_lineage(steps: Sequence[Step], run: Path) -> Path:
    """Write what the finished stages follow from; an earlier file is replaced at once."""
    manifests = current_stages(run)
    path = run / LINEAGE
    before = _stages_before(path)
    found = {
        step.name: _row(step, manifests[step.name], before.get(step.name, {}))
        for step in steps
        if step.name in manifests
    }
    draft = path.with_name(f".{path.name}.tmp")
    draft.write_text(json.dumps({"run": run.resolve().name, "stages": found}, indent=2) + "\n")
    draft.replace(path)
    return path


def _stages_before(path: Path) -> dict[str, Any]:
    """What an earlier command wrote; empty where nothing readable is there."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))["stages"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _config(step: Step, manifest: Manifest, before: Mapping[str, Any]) -> Any:
    """The keys that a stage was made with, which a later command may have otherwise.

    Its own key tells: it is the hash of them. None where they are not known any more.
    """
    given = manifest.seed, step.config, manifest.inputs
    if stage_key(step.name, manifest.version, *given) == manifest.key:
        return step.config
    return before.get("config") if before.get("key") == manifest.key else None


def _row(step: Step, manifest: Manifest, before: Mapping[str, Any]) -> dict[str, Any]:
    outputs = manifest.outputs
    return {
        "verb": step.verb,
        "parents": [name for name in manifest.inputs if name != FILES],
        "key": manifest.key,
        "seed": manifest.seed,
        "code": manifest.version,
        "config": _config(step, manifest, before),
        "model": _weights(outputs),
        "data": {name: digest for name, digest in outputs.items() if name.endswith(".jsonl")},
        "files": manifest.inputs.get(FILES, ""),
    }


def _weights(outputs: Mapping[str, str]) -> str:
    """Of a model in one file its hash; of one in shards that of their index."""
    names = ("model/model.safetensors", "model/model.safetensors.index.json")
    return next((outputs[name] for name in names if name in outputs), "")


def read_lineage(run: Path) -> dict[str, Ancestor]:
    """All stages of a run by folder, in order.

    Raises:
        UserError: the run has no such file, or it is not one.
    """
    path = run / LINEAGE
    try:
        stages = json.loads(path.read_text(encoding="utf-8"))["stages"]
        return {
            name: Ancestor(
                name,
                row["verb"],
                tuple(row["parents"]),
                row["key"],
                row["seed"],
                row["code"],
                row["config"],
                row["model"],
                row["data"],
                row["files"],
            )
            for name, row in stages.items()
        }
    except OSError:
        raise UserError(f"{path}: not there; `arriero run` writes it") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path}: not a lineage; `arriero run` writes it anew") from None


def ancestry(stages: Mapping[str, Ancestor], name: str) -> list[Ancestor]:
    """A stage and all that it follows from, the oldest first.

    >>> stage = lambda name, *parents: Ancestor(name, "", parents, "", 0, "", {}, "", {}, "")
    >>> all_ = {s.name: s for s in (stage("a"), stage("b", "a"), stage("c"), stage("d", "b"))}
    >>> [one.name for one in ancestry(all_, "d")]
    ['a', 'b', 'd']

    Raises:
        UserError: no such stage.
    """
    if name not in stages:
        raise UserError(f"no stage {name!r} in this run; there are {', '.join(stages)}")
    wanted = {name}
    for one in reversed(list(stages)):
        if one in wanted:
            wanted.update(stages[one].parents)
    return [stages[one] for one in stages if one in wanted]


def described(ancestors: Sequence[Ancestor]) -> list[str]:
    """Lines for a terminal: each stage, what it read, and the hash of the model it left."""
    width = max((len(one.name) for one in ancestors), default=0)
    lines: list[str] = []
    for one in ancestors:
        model = f"  model {one.model[:12]}" if one.model else ""
        lines.append(f"{one.name:{width}}  key {one.key[:12]}  seed {one.seed}{model}")
        if one.parents:
            lines.append(f"{'':{width}}  from {', '.join(one.parents)}")
        if one.files:
            lines.append(f"{'':{width}}  and files of one's own {one.files[:12]}")
        if one.data:
            lines.append(f"{'':{width}}  left {', '.join(_named(one.data))}")
    return lines


def _named(data: Mapping[str, str]) -> list[str]:
    """Files with the beginning of their hash; of a folder's files how many there are."""
    inner = Counter(name.split("/")[0] for name in data if "/" in name)
    return [
        *(f"{name} {digest[:8]}" for name, digest in data.items() if "/" not in name),
        *(f"{folder}/ ({count} files)" for folder, count in inner.items()),
    ]
