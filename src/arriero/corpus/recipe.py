"""Reads a corpus's recipe: TOML, the command line's keys, one line for what is wrong."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from arriero.corpus.config import CorpusRecipe, SourceConfig
from arriero.data.recipes import packaged_names, read_tables
from arriero.data.toml_tables import explain, leaf_fields, near_key, set_key, toml_text
from arriero.records import UserError

# In a source's path: where the embedded world's dumps lie.
WORLD = "{world}"

_PACKAGE = "arriero.corpus"


def corpus_recipe_names() -> list[str]:
    """The recipes that come with the package."""
    return packaged_names(_PACKAGE)


def load_corpus_recipe(
    name_or_path: str | Path, overrides: Mapping[str, Any] | None = None
) -> CorpusRecipe:
    """A recipe of the package by name, or a TOML file, with overrides by dotted key.

    Raises:
        UserError: no such recipe, not TOML, an unknown key (with the nearest known one), a value
            that does not fit, no source, or a weight for a source that is not there.
    """
    values = read_tables(str(name_or_path), _PACKAGE)
    for key, value in (overrides or {}).items():
        set_key(values, key, value)
    values.setdefault("name", Path(name_or_path).stem)
    try:
        recipe = CorpusRecipe.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(explain(first, str(name_or_path), _unknown(first["loc"]))) from None
    _check_sources(recipe, str(name_or_path))
    return recipe


def resolved(recipe: CorpusRecipe, run: Path) -> CorpusRecipe:
    """The recipe with absolute paths, so that it reads the same from anywhere."""

    def absolute(path: str) -> str:
        return str(Path(path.replace(WORLD, str(run.absolute() / "world"))).absolute())

    sources = {
        name: source.model_copy(update={"paths": tuple(map(absolute, source.paths))})
        for name, source in recipe.sources.items()
    }
    model = recipe.tokenizer.model
    named = model not in ("", "train")
    tokenizer = recipe.tokenizer.model_copy(update={"model": absolute(model) if named else model})
    files = tuple(map(absolute, recipe.excluded_site_files))
    return recipe.model_copy(
        update={"sources": sources, "tokenizer": tokenizer, "excluded_site_files": files}
    )


def recipe_text(recipe: CorpusRecipe) -> str:
    """The recipe with every key, as TOML that `load_corpus_recipe` reads back."""
    return toml_text(recipe.model_dump(mode="json"))


def known_keys() -> list[str]:
    """Every dotted key; those of a source with NAME in place of its name."""
    keys = [key for key, _, _ in leaf_fields(CorpusRecipe) if key != "sources"]
    return keys + [f"sources.NAME.{key}" for key, _, _ in leaf_fields(SourceConfig)]


def unknown_corpus_key(key: str) -> str:
    """The line that an unknown key gets."""
    near = near_key(key, known_keys())
    hint = f"; did you mean {near}?" if near else "; docs/corpus.md lists all keys"
    return f"unknown key {key}{hint}"


def _unknown(where: tuple[int | str, ...]) -> str:
    parts = [str(part) for part in where]
    if parts[:1] == ["sources"] and len(parts) > 2:
        near = near_key(parts[-1], list(SourceConfig.model_fields))
        hint = f"; did you mean {near}?" if near else ""
        return f"unknown key {'.'.join(parts)}{hint}"
    return unknown_corpus_key(".".join(parts))


def _check_sources(recipe: CorpusRecipe, where: str) -> None:
    if not recipe.sources:
        raise UserError(f"{where}: no source; add a table [sources.NAME] with paths")
    for name in recipe.weights:
        if name not in recipe.sources:
            near = difflib.get_close_matches(name, recipe.sources, n=1)
            known = f"the sources: {', '.join(recipe.sources)}"
            hint = f"did you mean {near[0]}?" if near else known
            raise UserError(f"{where}: weights: there is no source {name}; {hint}")
    without = [name for name in recipe.sources if recipe.weight_of(name) is None]
    if without and len(without) < len(recipe.sources):
        raise UserError(
            f"{where}: no weight for {', '.join(without)}; give each source one, or none"
        )
