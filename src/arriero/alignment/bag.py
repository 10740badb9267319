"""The bag: every sampled answer with its scores, kept for later versions (section 3.2.3).

Each version leaves its samples in its own stage's folder, so that the bag of a run is these folders
in order. A folder holds parts, written one after another and never changed:

    samples/part-00003-SHA256.jsonl

where SHA256 is the hash of the part's bytes, and each line holds all samples of one prompt. A part
appears whole or not at all, so a kill costs at most the one in hand.

Answers are kept as text. Text is what fine-tuning learns from, and what a model with another
tokenizer can learn from too; the scores are those of the tokens that were sampled.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from arriero.records import Message, Prompt, UserError

FOLDER = "samples"
_PART = re.compile(r"part-(\d{5})-([0-9a-f]{64})\.jsonl")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where samples come from.

    Attributes:
        version: of the model that learns from them, such as `v1`.
        temperature: they were sampled at.
        policy: SHA-256 of the weights that they were sampled from.
        base: SHA-256 of the weights that fine-tuning starts from.
        tokenizer: the fingerprint of the policy's.
    """

    version: str
    temperature: float
    policy: str
    base: str
    tokenizer: str


@dataclass(frozen=True, slots=True)
class Samples:
    """All samples of one prompt, K of each: a line of a part.

    Attributes:
        answers: their texts.
        ended: whether each came to an end, or was cut off.
        helpfulness: raw scores; NaN where a model gave none that is finite. `safety` as well.
        scores: what counts of the two, the composite; NaN where either is.
    """

    prompt: Prompt
    answers: tuple[str, ...]
    ended: tuple[bool, ...]
    helpfulness: tuple[float, ...]
    safety: tuple[float, ...]
    scores: tuple[float, ...]
    origin: Origin


def write_part(stage: Path, number: int, rows: Sequence[Samples]) -> Path:
    """Add a part to the bag of a stage's folder, whole or not at all; returns its path."""
    content = "".join(json.dumps(_to_json(row), allow_nan=False) + "\n" for row in rows).encode()
    digest = hashlib.sha256(content).hexdigest()
    folder = stage / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"part-{number:05d}-{digest}.jsonl"
    temporary = folder / f".part-{number:05d}.tmp"
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)  # else a power cut may take the name back
    finally:
        os.close(handle)
    return path


def part_of(stage: Path, number: int) -> Path | None:
    """A part by its number; None if there is none."""
    return next(iter(sorted((stage / FOLDER).glob(f"part-{number:05d}-*.jsonl"))), None)


def parts_of(stage: Path) -> list[Path]:
    """The parts of a stage's bag in order, none if it has no bag.

    Raises:
        UserError: one between others is missing.
    """
    folder = stage / FOLDER
    found = sorted(p for p in folder.glob("part-*.jsonl") if _PART.fullmatch(p.name))
    for number, path in enumerate(found):
        if int(path.name[5:10]) != number:
            raise UserError(f"{folder}: part {number} is missing; {_mend(stage)}")
    return found


def read_part(part: Path) -> list[Samples]:
    """The samples of a part, a prompt each.

    Raises:
        UserError: its bytes are not those that were written, or it is no part of a bag.
    """
    content = part.read_bytes()
    named = _PART.fullmatch(part.name)
    if named is None or hashlib.sha256(content).hexdigest() != named[2]:
        raise UserError(
            f"{part}: damaged (its SHA-256 is not the one in its name); {_mend(part.parent.parent)}"
        )
    try:
        rows = [_from_json(json.loads(line)) for line in content.splitlines()]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{part}: no part of a bag of samples ({error!r})") from error
    if not rows:
        raise UserError(f"{part}: no part of a bag of samples (it is empty)")
    return rows


def samples_in(stage: Path) -> Iterator[Samples]:
    """All samples of a stage's bag in order, with one part at a time in memory.

    Raises:
        UserError: as parts_of and read_part.
    """
    for part in parts_of(stage):
        yield from read_part(part)


def bags_in(folder: Path) -> list[Path]:
    """The stages that hold a bag: of a run in order, or the folder itself if it is such a stage.

    Raises:
        UserError: there is none, or the folder is not there.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; name a run, or a stage of rejection sampling")
    found = [stage for stage in (folder, *sorted(folder.glob("*-*/"))) if parts_of(stage)]
    if not found:
        raise UserError(f"{folder}: no bag of samples in it; run rejection sampling first")
    return found


def bag_identity(folder: Path) -> str:
    """SHA-256 over the names of all parts of a run or a stage, which follow from their contents.

    Raises:
        UserError: as bags_in.
    """
    names = [f"{stage.name}/{part.name}" for stage in bags_in(folder) for part in parts_of(stage)]
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def check_origin(stage: Path, row: Samples, base: str, tokenizer: str) -> None:
    """Refuse samples that belong to another base model or another tokenizer.

    Raises:
        UserError: they do.
    """
    for what, theirs, ours in (
        ("base model", row.origin.base, base),
        ("tokenizer", row.origin.tokenizer, tokenizer),
    ):
        if theirs != ours:
            raise UserError(
                f"{stage}: its bag belongs to another {what} ({theirs[:8]}, not {ours[:8]}); make "
                "its samples again, or learn from them through rejection.samples_from"
            )


def _mend(stage: Path) -> str:
    return f"make the samples again, with `arriero run RECIPE --from {stage.name}`"


def _to_json(row: Samples) -> dict[str, Any]:
    return {
        "prompt_id": row.prompt.id,
        "messages": [
            {"role": message.role, "content": message.content} for message in row.prompt.messages
        ],
        "track": row.prompt.track,
        "category": row.prompt.category,
        "answers": row.answers,
        "ended": row.ended,
        "helpfulness": _to_numbers(row.helpfulness),
        "safety": _to_numbers(row.safety),
        "scores": _to_numbers(row.scores),
        **asdict(row.origin),
    }


def _from_json(row: dict[str, Any]) -> Samples:
    messages = tuple(Message(turn["role"], turn["content"]) for turn in row["messages"])
    origin = Origin(**{name: row[name] for name in Origin.__slots__})
    return Samples(
        Prompt(row["prompt_id"], messages, row["track"], row["category"]),
        tuple(row["answers"]),
        tuple(row["ended"]),
        _from_numbers(row["helpfulness"]),
        _from_numbers(row["safety"]),
        _from_numbers(row["scores"]),
        origin,
    )


# JSON has no NaN: a score that is not finite is null.
def _to_numbers(scores: Sequence[float]) -> list[float | None]:
    return [score if math.isfinite(score) else None for score in scores]


def _from_numbers(scores: Sequence[float | None]) -> tuple[float, ...]:
    return tuple(math.nan if score is None else float(score) for score in scores)
