"""Recipes that come with the package, and files of them: names, and the tables that one holds."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from arriero.records import UserError


def packaged_names(package: str) -> list[str]:
    """The names of the recipes in a package's folder `recipes`."""
    names = (entry.name for entry in (resources.files(package) / "recipes").iterdir())
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))


def read_tables(name_or_path: str, package: str) -> dict[str, Any]:
    """The tables of a recipe: a file if it ends in `.toml`, else one of the package's by name.

    Raises:
        UserError: there is no such recipe, or it is no TOML.
    """
    path = Path(name_or_path)
    known = packaged_names(package)
    if path.suffix == ".toml":
        if not path.is_file():
            raise UserError(f"{path}: no such recipe file")
        content = path.read_bytes()
    elif name_or_path in known:
        content = (resources.files(package) / "recipes" / f"{path}.toml").read_bytes()
    else:
        are = "are" if len(known) > 1 else "is"
        raise UserError(
            f"no recipe {name_or_path!r}; there {are} {', '.join(known)}, or name a .toml file"
        )
    try:
        return tomllib.loads(content.decode())
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{name_or_path}: not valid TOML ({error})") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{name_or_path}: not UTF-8 text ({error.reason})") from None
