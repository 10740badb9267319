"""`arriero corpus withdraw`: documents go, and the mix is mended without starting over.

What it costs: the input files that hold them are read and judged again, as are the files beside
them in a unit; duplicates are decided anew from the signatures that stand; only units whose
documents became others are written and tokenised again, and the shards of their sources put
together. Nothing else is read but for its hash. A trained tokenizer stays unless it is asked for
anew, because models know its ids. A duplicate that had gone in favour of a withdrawn document
comes back, if nothing else is like it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from arriero.corpus import clean
from arriero.corpus.build import build, locked
from arriero.corpus.reading import ANALYSES, PAGE, read_build
from arriero.corpus.recipe import load_corpus_recipe
from arriero.corpus.sites import excluding, read_sites
from arriero.corpus.stages import LISTING, Context, Say
from arriero.corpus.storage import read_rows
from arriero.corpus.withdrawn import add_withdrawn, withdrawn_ids
from arriero.records import UserError


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to go: documents by any of these."""

    ids: frozenset[str] = frozenset()
    urls: frozenset[str] = frozenset()
    sites: frozenset[str] = frozenset()
    files: frozenset[str] = frozenset()
    licenses: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return any((self.ids, self.urls, self.sites, self.files, self.licenses))

    def takes(self, row: dict[str, Any]) -> bool:
        """Whether a document is meant."""
        return (
            row["id"] in self.ids
            or row["url"] in self.urls
            or row["file"] in self.files
            or f"{row['source']}/{row['file']}" in self.files
            or row["license"] in self.licenses
            or bool(self.sites and excluding(row["url"], self.sites))
        )


def withdraw(
    root: Path,
    wanted: Wanted,
    say: Say,
    *,
    dry_run: bool = False,
    retrain_tokenizer: bool = False,
) -> dict[str, Any]:
    """Take documents out of a built corpus; returns its build.json.

    Raises:
        UserError: nothing is named, something named is not there, or an input file that holds a
            document is gone or another by now.
    """
    if not (root / LISTING).is_file():
        read_build(root)  # says what is missing
    if not wanted:
        raise UserError("withdraw: name ids, or --from, --url, --site, --file, --license")
    wanted = replace(wanted, sites=read_sites(wanted.sites, ()))
    recipe = load_corpus_recipe(root / "recipe.toml")
    context = Context(root.absolute(), recipe)
    found: dict[str, list[str]] = {}
    seen: Counter[str] = Counter()
    for unit, row in _all(context):
        if wanted.takes(row):
            found.setdefault(unit, []).append(row["id"])
            seen[row["source"]] += 1
    known = {one for ids in withdrawn_ids(context.root).values() for one in ids}
    there = {one for ids in found.values() for one in ids} | known
    if missing := wanted.ids - there:
        more = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
        raise UserError(f"{root}: no document {min(missing)}{more}; see documents/ for ids")
    if not found and not wanted.ids:
        raise UserError(f"{root}: no document is meant by what was named")
    for source, number in seen.items():
        say(f"{source}: {number:,} documents {'would go' if dry_run else 'go'}")
    if dry_run:
        return read_build(root)
    _check_inputs(context, found)
    with locked(context.root):
        add_withdrawn(context.root, found)
        _drop_report(context.root, say)
    facts = build(recipe, root, say, keep_tokenizer=not retrain_tokenizer, listed=True)
    say(f"{sum(map(len, found.values())):,} documents withdrawn; of {len(context.units()):,} units "
        f"{len(found):,} were read again")  # fmt: skip
    return facts


def _drop_report(root: Path, say: Say) -> None:
    """A report shows removed documents as examples: one that goes may be among them."""
    there = [root / name for name in (ANALYSES, PAGE) if (root / name).exists()]
    for path in there:
        path.unlink()
    if there:
        say(
            "the report was of the corpus before and is removed; give `arriero corpus report` again"
        )


def _all(context: Context) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every document that was read, kept or removed, with its unit."""
    for unit in context.units():
        for part in ("kept", "removed"):
            path = context.root / clean.NAME / f"{unit.name}.{part}.jsonl.zst"
            if not path.is_file():
                raise UserError(f"{context.root} is not built whole; give `arriero corpus build`")
            for row in read_rows(path):
                yield unit.name, row


def _check_inputs(context: Context, found: dict[str, list[str]]) -> None:
    """Say so before anything is changed, where a unit cannot be read again as it was."""
    from arriero.corpus.listing import digest_of

    for name in found:
        for file in context.unit(name).files:
            if file.format and (
                not Path(file.path).is_file() or digest_of(Path(file.path)) != file.digest
            ):
                raise UserError(
                    f"{file.path}: gone or another than when it was read; bring it back, or give "
                    "`arriero corpus build` again with what there is"
                )
