"""Stage 1: files to clean documents. Reads, leaves out sites, normalises, judges, masks, counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xxhash

from arriero.corpus.config import CorpusRecipe, RulesConfig, SourceConfig
from arriero.corpus.html import extractor_name
from arriero.corpus.identifiers import mask_identifiers
from arriero.corpus.listing import Unit
from arriero.corpus.normalise import normalised
from arriero.corpus.readers.items import Found, Problem, printable
from arriero.corpus.readers.reading import read_file
from arriero.corpus.rules import RULES, objection
from arriero.corpus.sites import excluding, read_sites
from arriero.corpus.stages import Context, Stage
from arriero.corpus.storage import hash_of, row_writer, write_json
from arriero.corpus.withdrawn import withdrawn_ids, withdrawn_of
from arriero.records import UserError

NAME = "01-clean"
EXCLUDED_SITE = "excluded_site"
# Places named of each kind of problem in a file; all are counted.
_NAMED = 5


def stage(units: Sequence[Unit], recipe: CorpusRecipe, root: Path) -> Stage:
    """The stage with each unit's key.

    Raises:
        UserError: a list of excluded sites cannot be read.
    """
    # Once and not for each unit: a list may hold millions.
    shared = hash_of(sorted(read_sites(recipe.excluded_sites, recipe.excluded_site_files)))
    extractor = extractor_name(recipe.normalise.extract)
    withdrawn = withdrawn_ids(root)
    keys: dict[str, str] = {}
    for unit in units:
        source = recipe.sources[unit.source]
        how = source.model_dump(exclude={"paths", "weight", "rules"})
        files = [[file.name, file.format, file.digest, file.problem] for file in unit.files]
        keys[unit.name] = hash_of(
            NAME, unit.source, how, files, shared, extractor, recipe.strict,
            recipe.max_line_megabytes, recipe.normalise.model_dump(),
            recipe.rules_of(unit.source).model_dump(), recipe.identifiers.model_dump(),
            sorted(withdrawn_of(unit, withdrawn)),
        )  # fmt: skip
    return Stage(NAME, clean, keys)


def document_id(source: str, file: str, place: int | str) -> str:
    """What names a document wherever and in whatever order it is read."""
    return xxhash.xxh3_128_hexdigest(f"{source}\0{file}\0{place}".encode("utf-8", "replace"))


def clean(context: Context, name: str) -> list[Path]:
    """Do a unit: kept and removed documents, and counts.

    Raises:
        UserError: something is wrong with a file, and the recipe is strict.
    """
    unit, recipe = context.unit(name), context.recipe
    source = recipe.sources[unit.source]
    sites = read_sites((*recipe.excluded_sites, *source.excluded_sites), recipe.excluded_site_files)
    withdrawn = withdrawn_of(unit, withdrawn_ids(context.root))
    paths = {part: Path(NAME, f"{name}.{part}.jsonl.zst") for part in ("kept", "removed")}
    counts, rules = Counts(), recipe.rules_of(unit.source)
    with (
        row_writer(context.root / paths["kept"]) as keep,
        row_writer(context.root / paths["removed"]) as remove,
    ):
        for row in _rows(unit, source, recipe, counts):
            if row["id"] in withdrawn:
                counts.withdrawn += 1
                continue
            if _judge(row, sites, recipe, rules, counts):
                keep(row)
            else:
                remove(row)
    write_json(context.root / NAME / f"{name}.counts.json", counts.as_row())
    return [*paths.values(), Path(NAME, f"{name}.counts.json")]


@dataclass
class Counts:
    """What happened to a unit's documents, as [documents, characters] where it is a list."""

    read: list[int] = field(default_factory=lambda: [0, 0])
    kept: list[int] = field(default_factory=lambda: [0, 0])
    removed: dict[str, list[int]] = field(default_factory=dict)
    examples: dict[str, dict[str, str]] = field(default_factory=dict)
    changed: Counter[str] = field(default_factory=Counter)
    identifiers: dict[str, list[int]] = field(default_factory=dict)
    masked: Counter[str] = field(default_factory=Counter)
    problems: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    withdrawn: int = 0

    def as_row(self) -> dict[str, Any]:
        """As JSON keeps it."""
        problems = [
            {"file": file, "reason": reason, **facts}
            for (file, reason), facts in self.problems.items()
        ]
        return {
            "read": self.read, "kept": self.kept, "removed": self.removed,
            "examples": self.examples, "changed": dict(self.changed),
            "identifiers": self.identifiers, "masked": dict(self.masked), "problems": problems,
            "withdrawn": self.withdrawn,
        }  # fmt: skip


def add_to(counts: dict[str, list[int]], name: str, *numbers: int) -> None:
    """Add numbers to those of a name."""
    row = counts.setdefault(name, [0] * len(numbers))
    for place, number in enumerate(numbers):
        row[place] += number


def _rows(
    unit: Unit, source: SourceConfig, recipe: CorpusRecipe, counts: Counts
) -> Iterator[dict[str, Any]]:
    """The documents as they are read; problems are counted and named."""
    max_bytes = int(recipe.max_line_megabytes * 1e6)
    for file in unit.files:
        for item in read_file(file, source, max_bytes, recipe.normalise.extract):
            if isinstance(item, Problem):
                if recipe.strict:
                    where = f"{file.path}:{item.place}" if item.place else file.path
                    more = f" ({item.detail})" if item.detail else ""
                    raise UserError(f"{where}: {item.reason}{more}; mend it, or unset strict")
                _note(counts, file.name, item)
                continue
            counts.read[0] += 1
            counts.read[1] += len(item.text)
            yield _row(item, unit.source, source.license, file.name)


def _row(item: Found, source: str, license: str, file: str) -> dict[str, Any]:
    return {
        "id": document_id(source, file, item.place),
        "text": item.text,
        "source": source,
        "license": license,
        "file": file,
        "place": item.place,
        "url": printable(item.url),
    }


def _note(counts: Counts, file: str, problem: Problem) -> None:
    facts = counts.problems.setdefault(
        (file, problem.reason), {"count": 0, "places": [], "detail": problem.detail}
    )
    facts["count"] += 1
    if problem.place and len(facts["places"]) < _NAMED:
        facts["places"].append(problem.place)


def _judge(
    row: dict[str, Any],
    sites: frozenset[str],
    recipe: CorpusRecipe,
    rules: RulesConfig,
    counts: Counts,
) -> bool:
    """Normalise, judge and mask a document in place; whether it stays."""
    size = len(row["text"])
    if site := excluding(row["url"], sites):
        # Of a site that is left out for its personal data, no text is kept here either.
        _remove(row | {"text": ""}, EXCLUDED_SITE, site, size, counts)
        row.update(text="", rule=EXCLUDED_SITE, detail=site)
        return False
    row["text"], changes = normalised(row["text"], recipe.normalise)
    counts.changed.update(changes)
    rule, detail = objection(row["text"], rules)
    if rule:
        # What is removed is kept to be looked at, and a rule may quote it.
        row["text"], detail = (
            mask_identifiers(text, recipe.identifiers.mask)[0] if recipe.identifiers.mask else text
            for text in (row["text"], detail)
        )
        _remove(row, rule, detail, size, counts)
        row.update(rule=rule, detail=detail)
        return False
    text, found = mask_identifiers(row["text"], recipe.identifiers.mask)
    for kind, number in found.items():
        add_to(counts.identifiers, kind, 1, number)
    if text != row["text"]:
        row["text"] = text
        masked = [kind for kind in found if kind in recipe.identifiers.mask]
        counts.masked.update(masked)
        changes += [f"masked {kind}" for kind in masked]
    row["kept"] = [*changes, *RULES]
    counts.kept[0] += 1
    counts.kept[1] += len(text)
    return True


def _remove(row: Mapping[str, Any], rule: str, detail: str, size: int, counts: Counts) -> None:
    add_to(counts.removed, rule, 1, size)
    counts.examples.setdefault(rule, {"id": row["id"], "detail": detail, "text": row["text"][:200]})
