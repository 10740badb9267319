"""JSON objects in files, with one line for whatever is wrong with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from arriero.records import UserError


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file; raises UserError for anything else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: not valid JSON ({error.msg}, line {error.lineno})") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: not a JSON object")
    return cast(dict[str, Any], value)


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write an object for people to read too."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
