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
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from arriero.corpus import clean
from arriero.corpus.build import build, locked
from arriero.corpus.reading import ANALYSES, BUILD, PAGE, read_build
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
        return any(self._named().values())

    def meant_by(self, row: dict[str, Any], named: Set[tuple[str, str]]) -> set[tuple[str, str]]:
        """What of `named` means a document, as (kind, name); empty for none."""
        name = row["file"]
        own = {("id", row["id"]), ("url", row["url"]), ("license", row["license"]),
               ("file", name), ("file", f"{row['source']}/{name}")}  # fmt: skip
        own |= {("site", site) for site in self.sites if excluding(row["url"], frozenset((site,)))}
        return own & named

    def all(self) -> set[tuple[str, str]]:
        """All that is named, as (kind, name)."""
        return {(kind, name) for kind, names in self._named().items() for name in names}

    def _named(self) -> dict[str, frozenset[str]]:
        return {
            "id": self.ids, "url": self.urls, "site": self.sites, "file": self.files,
            "license": self.licenses,
        }  # fmt: skip


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
    if "" in wanted.urls:
        raise UserError("withdraw: a --url is empty, and would mean all documents without one")
    wanted = replace(wanted, sites=read_sites(wanted.sites, (), "--site"))
    recipe = load_corpus_recipe(root / "recipe.toml")
    # One machine does it, however many built the corpus: the others are not told.
    alone = recipe.executor.model_copy(update={"nodes": 1, "node": 0})
    recipe = recipe.model_copy(update={"executor": alone})
    context = Context(root.absolute(), recipe)
    named = wanted.all()
    found: dict[str, list[str]] = {}
    units: dict[str, None] = {}
    seen: Counter[str] = Counter()
    met: set[tuple[str, str]] = set()
    for unit, row in _all(context):
        if meant := wanted.meant_by(row, named):
            met |= meant
            units[unit] = None
            found.setdefault(f"{row['source']}/{row['file']}", []).append(row["id"])
            seen[row["source"]] += 1
    _check_met(context.root, named - met, found)
    for source, number in seen.items():
        say(f"{source}: {number:,} documents {'would go' if dry_run else 'go'}")
    if dry_run:
        return read_build(root)
    _check_inputs(context, units)
    with locked(context.root):
        add_withdrawn(context.root, found)
        for name in (ANALYSES, PAGE):
            if (context.root / name).is_file():
                (context.root / name).unlink()
                say(f"{name} quotes documents and is gone; `arriero corpus report` writes it again")
    facts = build(recipe, root, say, keep_tokenizer=not retrain_tokenizer, listed=True)
    say(f"{seen.total():,} documents withdrawn; of {len(context.units()):,} units "
        f"{len(units):,} were read again")  # fmt: skip
    return facts


def _check_met(root: Path, unmet: set[tuple[str, str]], found: Mapping[str, Iterable[str]]) -> None:
    """Say what was named and means no document, unless it is withdrawn already."""
    known = {one for ids in withdrawn_ids(root).values() for one in ids}
    missing = sorted((kind, name) for kind, name in unmet if kind != "id" or name not in known)
    if missing and not found and not (root / BUILD).is_file():
        return  # a withdrawal that was ended before its time, given again: the build goes on
    if missing:
        kind, name = missing[0]
        which = name if kind == "id" else f"of the {kind} {name}"
        more = f", and none by {len(missing) - 1:,} more" if len(missing) > 1 else ""
        raise UserError(f"{root}: no document {which}{more}; see documents/ and removed/")


def _all(context: Context) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every document that was read, kept or removed, with its unit."""
    for unit in context.units():
        for part in ("kept", "removed"):
            path = context.root / clean.NAME / f"{unit.name}.{part}.jsonl.zst"
            if not path.is_file():
                raise UserError(f"{context.root} is not built whole; give `arriero corpus build`")
            for row in read_rows(path):
                yield unit.name, row


def _check_inputs(context: Context, units: Iterable[str]) -> None:
    """Say so before anything is changed, where a unit cannot be read again as it was."""
    from arriero.corpus.listing import digest_of

    for name in units:
        for file in context.unit(name).files:
            if file.format and (
                not Path(file.path).is_file() or digest_of(Path(file.path)) != file.digest
            ):
                raise UserError(
                    f"{file.path}: gone or another than when it was read; bring it back, or give "
                    "`arriero corpus build` again with what there is"
                )
