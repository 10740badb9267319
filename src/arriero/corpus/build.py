"""`arriero corpus build`: the stages in order, then what was counted, in one file."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from arriero.corpus import buckets, candidates, clean, decide, documents, signatures, tokens
from arriero.corpus.config import CorpusRecipe
from arriero.corpus.listing import Unit, list_units
from arriero.corpus.reading import BUILD, DOCUMENTS, REMOVED, TOKENS
from arriero.corpus.recipe import recipe_text, resolved
from arriero.corpus.stages import (
    LISTING,
    Context,
    Execute,
    Outputs,
    Say,
    prune,
    prune_tokens,
    run_stage,
)
from arriero.corpus.storage import hash_of, read_json, whole, write_json
from arriero.corpus.weights import mix
from arriero.records import UserError

# All but the tokenizer's: models know its ids.
_PRUNED = (
    DOCUMENTS, REMOVED, clean.NAME, signatures.NAME, buckets.EXACT, buckets.BANDS, candidates.NAME,
    decide.NAME, documents.NAME, tokens.PIECES, tokens.SHARDS,
)  # fmt: skip


def build(
    recipe: CorpusRecipe,
    root: Path,
    say: Say,
    *,
    execute: Execute | None = None,
    keep_tokenizer: bool | None = None,
    listed: bool = False,
) -> dict[str, Any]:
    """Build a corpus in `root`; what stands already is not done again. Returns build.json.

    Args:
        execute: does the units of a stage; the recipe's executor where none is given.
        keep_tokenizer: whether one that was trained before stays, though the documents are others;
            None where that was said of these documents before.
        listed: take the inputs as they were found before, without looking at them again.

    Raises:
        UserError: something in the recipe or the inputs is wrong, or another build is at work.
    """
    root = root.absolute()
    recipe = resolved(recipe, root)
    with locked(root, recipe.executor.node):
        units = _listing(recipe, root, listed=listed)
        with whole(root / "recipe.toml") as file:
            file.write(recipe_text(recipe).encode())
        context = Context(root, recipe)
        run = _Runner(context, execute or _executor(), say)
        _stages(run, units, keep_tokenizer=keep_tokenizer)
        facts = _facts(context, units, run.done)
        _prune_all(run)
        _mix_file(context, facts)
        write_json(root / BUILD, facts)  # last: with it the corpus stands
    return facts


class _Runner:
    """Runs stages and keeps what each left."""

    def __init__(self, context: Context, execute: Execute, say: Say) -> None:
        self.context, self.execute, self.say = context, execute, say
        self.done: dict[str, dict[str, Outputs]] = {}

    def __call__(self, stage: Any) -> dict[str, Outputs]:
        self.done[stage.name] = run_stage(stage, self.context, self.execute, self.say)
        return self.done[stage.name]


def _stages(run: _Runner, units: list[Unit], *, keep_tokenizer: bool | None) -> None:
    context, recipe = run.context, run.context.recipe
    config = recipe.duplicates
    cleaned = run(clean.stage(units, recipe, context.root))
    signed = run(signatures.stage(cleaned, config))
    exact = run(buckets.exact_stage(signed, config, list(recipe.sources)))
    found: dict[str, Outputs] = {}
    if config.near:
        bands = run(buckets.bands_stage({**signed, "first": exact["all"]}, config))
        found = run(candidates.stage(cleaned, {**bands, "exact": exact["all"]}, config))
    decided = run(decide.stage(found, exact, signed, config))
    kept = run(documents.stage(cleaned, decided["all"], config))
    if not recipe.tokenizer.model:
        return
    if not any(
        read_json(context.root / documents.NAME / f"{unit.name}.counts.json")["kept"][0]
        for unit in units
    ):
        _prune_all(run)  # all of them may have been withdrawn
        raise UserError(f"{recipe.name}: no document stayed; see {context.root / REMOVED}")
    stays = _tokenizer_that_stays(context.root, tokens.training_key(recipe, kept), keep_tokenizer)
    tokenizer = run(tokens.tokenizer_stage(recipe, kept, stays))
    pieces = run(tokens.pieces_stage(kept, tokenizer["all"]))
    run(tokens.shards_stage(pieces, kept))


def _prune_all(run: _Runner) -> None:
    """Remove sources that are gone, units that are no more, drafts of a build that was killed."""
    root = run.context.root
    if run.context.recipe.executor.node == 0:
        prune(root, run.done, _PRUNED)
        prune_tokens(root / TOKENS, run.done.get(tokens.SHARDS, {}))


def _tokenizer_that_stays(root: Path, asked: str, keep: bool | None) -> str:
    """The key of one that was trained before and stays; "" where it is trained if it is another.

    That it stays is written down, so that the next build of the same documents keeps it as well.
    """
    standing = (read_json(root / tokens.TOKENIZER / "units" / "all.json") or {}).get("key", "")
    path = root / tokens.TOKENIZER / "stays.json"
    if keep is None:
        keep = (read_json(path) or {}).get(asked) == standing
    elif standing:
        write_json(path, {asked: standing} if keep else {})
    return standing if keep else ""


def _listing(recipe: CorpusRecipe, root: Path, *, listed: bool) -> list[Unit]:
    known = read_json(root / LISTING) if listed else None
    if known is not None:
        return [Unit.from_row(row) for row in known["units"]]
    units = list_units(recipe)
    rows = {"units": [unit.as_row() for unit in units]}
    if read_json(root / LISTING) != json.loads(json.dumps(rows)):
        write_json(root / LISTING, rows)
    return units


def _facts(
    context: Context, units: list[Unit], done: Mapping[str, Mapping[str, Outputs]]
) -> dict[str, Any]:
    """build.json: counts by source, the mix, and one hash of all that was built."""
    recipe, root = context.recipe, context.root
    sources = {name: _source_facts(root, units, name) for name in recipe.sources}
    has_tokens = tokens.SHARDS in done
    for name, facts in sources.items():
        shard = read_json(root / tokens.SHARDS / f"{name}.json") if has_tokens else None
        facts["tokens"] = (shard or {}).get("tokens", 0)
        facts["license"] = recipe.sources[name].license
    size = "tokens" if has_tokens else "characters"
    amounts = {
        name: facts["tokens"] if has_tokens else facts["kept"]["characters"]
        for name, facts in sources.items()
    }
    weights = {name: recipe.weight_of(name) for name in sources}
    portions = mix(amounts, weights, recipe.target_tokens, recipe.max_epochs)
    for name, portion in portions.items():
        sources[name]["mix"] = asdict(portion)
    built = [documents.NAME, *([tokens.SHARDS] if has_tokens else [])]
    outputs = {
        path: digest
        for stage in built
        for unit in done[stage].values()
        for path, digest in unit.items()
    }
    return {
        "name": recipe.name,
        "sources": sources,
        "mix": {
            "unit": size,
            "target": recipe.target_tokens or sum(amounts.values()),
            "reached": sum(portion.sampled for portion in portions.values()),
        },
        "hash": hash_of(sorted(outputs.items()), sources),
        "config": recipe.model_dump(mode="json", exclude={"executor"}),
    }


def _source_facts(root: Path, units: list[Unit], name: str) -> dict[str, Any]:
    """The counts of all units of a source, added."""
    removed: dict[str, list[int]] = {}
    identifiers: dict[str, list[int]] = {}
    examples: dict[str, Any] = {}
    changed: dict[str, int] = {}
    masked: dict[str, int] = {}
    problems: list[Any] = []
    read, kept, withdrawn = [0, 0], [0, 0], 0
    for unit in units:
        if unit.source != name:
            continue
        first = read_json(root / clean.NAME / f"{unit.name}.counts.json")
        last = read_json(root / documents.NAME / f"{unit.name}.counts.json")
        read = [a + b for a, b in zip(read, first["read"], strict=True)]
        kept = [a + b for a, b in zip(kept, last["kept"], strict=True)]
        withdrawn += first["withdrawn"]
        for rule, numbers in (*first["removed"].items(), *last["removed"].items()):
            clean.add_to(removed, rule, *numbers)
        for kind, numbers in first["identifiers"].items():
            clean.add_to(identifiers, kind, *numbers)
        for total, part in ((changed, first["changed"]), (masked, first["masked"])):
            for key, number in part.items():
                total[key] = total.get(key, 0) + number
        examples = {**first["examples"], **last["examples"], **examples}
        problems += first["problems"]
    counted = ("documents", "characters")
    return {
        "files": sum(len(unit.files) for unit in units if unit.source == name),
        "read": dict(zip(counted, read, strict=True)),
        "kept": dict(zip(counted, kept, strict=True)),
        "removed": {rule: dict(zip(counted, part, strict=True)) for rule, part in removed.items()},
        "withdrawn": withdrawn,
        "changed": changed,
        "identifiers": {
            kind: {"documents": part[0], "found": part[1]} for kind, part in identifiers.items()
        },
        "masked": masked,
        "problems": problems,
        "examples": examples,
    }


def _mix_file(context: Context, facts: Mapping[str, Any]) -> None:
    """Let `arriero.data.mixing.open_corpus` open the tokens as they are mixed."""
    folder = context.root / TOKENS
    if not folder.is_dir():
        return
    from arriero.data.mixing import Source, write_mix  # brings torch, as the shards did

    sources = [
        Source(name, round(source["mix"]["share"], 12), ())
        for name, source in facts["sources"].items()
        if source["tokens"] and source["mix"]["share"] > 0
    ]
    write_mix(folder, sources, [source.name for source in sources])


def _executor() -> Execute:
    try:
        from arriero.corpus.executors import execute
    except ImportError as error:
        raise UserError(
            f"a corpus needs {error.name}; install it with pip install arriero[corpus]"
        ) from None
    return execute


@contextmanager
def locked(root: Path, node: int = 0) -> Iterator[None]:
    """Hold the folder, for one of several nodes.

    A lock of the process: children of an executor that outlive it do not hold it.

    Raises:
        UserError: another process works there.
    """
    root.mkdir(parents=True, exist_ok=True)
    with (root / f".lock-{node}").open("w", encoding="utf-8") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise UserError(
                f"{root}: another process works in this corpus; wait for it, or name another "
                "folder with --run"
            ) from None
        except OSError:
            pass  # a file system without locks: better unguarded than not at all
        yield
