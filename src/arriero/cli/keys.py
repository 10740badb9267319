"""Every key of a recipe as an option."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_origin

from arriero.cli.verbs import Act, Parser, Verbs

if TYPE_CHECKING:
    from pydantic import BaseModel


def recipe_verb(verbs: Verbs, name: str, text: str, act: Act) -> Parser:
    """A verb that takes a recipe, its folder, its length and its keys."""
    added = verbs.add(name, text, act)
    added.add_argument("recipe", metavar="RECIPE", help="a name (see `arriero recipes`) or a file")
    added.add_argument("--run", type=Path, metavar="FOLDER", help="default: runs/RECIPE")
    added.add_argument("--smoke", action="store_true", help="the same road, a twentieth as long")
    if name == verbs.asked:
        add_run_keys(added)
    return added


def add_run_keys(parser: Parser, without: Collection[str] = ()) -> None:
    """An option for each key of a run's recipe, but for some; finding them all takes a while."""
    from arriero.road.recipe import Recipe

    add_keys(parser, Recipe, without)


def add_keys(parser: Parser, recipe: type[BaseModel], without: Collection[str] = ()) -> None:
    """An option for each key of a recipe, but for some."""
    from arriero.data.toml_tables import leaf_fields

    groups: dict[str, Any] = {}
    for key, model, name in leaf_fields(recipe):
        if key in without:
            continue
        field = model.model_fields[name]
        section = key.rpartition(".")[0]
        group = groups.setdefault(section, parser.add_argument_group(section or "keys"))
        is_many = get_origin(field.annotation) in (tuple, dict)
        group.add_argument(
            f"--{key}",
            dest=key,
            metavar="X",
            nargs="+" if is_many else None,
            default=argparse.SUPPRESS,
            help=(field.description or "").replace("%", "%%"),
        )


def overrides_of(options: argparse.Namespace) -> dict[str, Any]:
    """The keys that the command line names."""
    from arriero.road.recipe import leaf_fields

    given = vars(options)
    return {key: given[key] for key, _, _ in leaf_fields() if key in given}


def recipe_of(options: argparse.Namespace) -> Any:
    """The recipe as the command line wants it."""
    from arriero.road.recipe import load_recipe

    overrides = overrides_of(options)
    if options.smoke:
        overrides.setdefault("scale", 0.05)
    return load_recipe(options.recipe, overrides)
