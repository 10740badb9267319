"""Small inputs and recipes."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from arriero.corpus.build import build
from arriero.corpus.config import CorpusRecipe
from arriero.corpus.stages import Context, Stage, do_unit

WORDS = (
    "the of and to be that have with river stone bread light morning valley people house water "
    "bring carry old young bridge winter summer smith baker market evening song road garden".split()
)
Build = Callable[..., dict[str, Any]]


def prose(rng: random.Random, num: int = 80) -> str:
    """Words in a row that no rule objects to, and that no two texts share many of."""
    return " ".join(rng.choice(WORDS) for _ in range(num))


def write_lines(path: Path, rows: Sequence[Any]) -> Path:
    """A JSON lines file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def recipe_of(sources: dict[str, Any], **keys: Any) -> CorpusRecipe:
    """A recipe without a tokenizer, unless one is named."""
    return CorpusRecipe.model_validate({"tokenizer": {"model": ""}, "sources": sources} | keys)


def in_this_process(context: Context, stage: Stage) -> None:
    """An executor without datatrove: every unit, one after another."""
    for name, key in stage.keys.items():
        do_unit(context, name, key, stage.name, stage.work)


@pytest.fixture
def build_here(tmp_path: Path) -> Build:
    """Builds a recipe in this process into a folder of the test's; returns build.json."""

    def run(recipe: CorpusRecipe, folder: str = "corpus") -> dict[str, Any]:
        return build(recipe, tmp_path / folder, lambda line: None, execute=in_this_process)

    return run
