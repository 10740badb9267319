"""A corpus's recipe brought together with the embedded world, where it wants its dumps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from arriero.corpus.build import build
from arriero.corpus.config import CorpusRecipe
from arriero.corpus.stages import Say
from arriero.world.dumps import write_dumps


def build_corpus(recipe: CorpusRecipe, root: Path, say: Say) -> dict[str, Any]:
    """Draw the dumps if the recipe asks for them, then build; returns build.json.

    Raises:
        UserError: as `arriero.corpus.build.build`.
    """
    if recipe.world.documents:
        write_dumps(root / "world", recipe.world.documents, recipe.world.seed)
    return build(recipe, root, say)
