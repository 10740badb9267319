"""Stage 7: the documents that stay and those that were removed, each where readers look for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from arriero.corpus import clean, decide
from arriero.corpus.config import DuplicatesConfig
from arriero.corpus.reading import DOCUMENTS, REMOVED
from arriero.corpus.stages import Context, Outputs, Stage
from arriero.corpus.storage import hash_of, read_json, read_rows, row_writer, write_json

NAME = "07-documents"


def stage(cleaned: Mapping[str, Outputs], decided: Outputs, config: DuplicatesConfig) -> Stage:
    """A unit follows from its clean documents and from the decisions on them alone."""
    facts = [config.exact, config.near]
    keys = {
        name: hash_of(NAME, facts, dict(outputs), decided[str(Path(decide.NAME, f"{name}.json"))])
        for name, outputs in cleaned.items()
    }
    return Stage(NAME, part, keys)


def part(context: Context, name: str) -> list[Path]:
    """Do a unit: kept documents, removed ones, and the counts of both."""
    root = context.root
    decisions: decide.Decisions = read_json(root / decide.NAME / f"{name}.json")
    kept, removed = (Path(folder, f"{name}.jsonl.zst") for folder in (DOCUMENTS, REMOVED))
    config = context.recipe.duplicates
    asked = ["exact_duplicates"] * config.exact + ["near_duplicates"] * config.near
    left = [0, 0]
    counts: dict[str, list[int]] = {}
    examples: dict[str, dict[str, str]] = {}
    with row_writer(root / kept) as keep, row_writer(root / removed) as remove:
        for row in read_rows(root / clean.NAME / f"{name}.removed.jsonl.zst"):
            remove(row)
        for row in read_rows(root / clean.NAME / f"{name}.kept.jsonl.zst"):
            decision = decisions.get(row["id"])
            if decision is None:
                left[0] += 1
                left[1] += len(row["text"])
                row["kept"] += asked
                keep(row)
                continue
            rule, stayed, likeness = decision
            clean.add_to(counts, rule, 1, len(row["text"]))
            examples.setdefault(
                rule, {"id": row["id"], "detail": stayed, "text": row["text"][:200]}
            )
            del row["kept"]
            remove(row | {"rule": rule, "detail": stayed, "similarity": likeness})
    facts = Path(NAME, f"{name}.counts.json")
    write_json(root / facts, {"kept": left, "removed": counts, "examples": examples})
    return [kept, removed, facts]
