"""What single choices of the paper are worth: `arriero ablate`."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path

from arriero.records import UserError
from arriero.road.ablation.attention import ablate_attention
from arriero.road.recipe import Recipe

Ablation = Callable[[Recipe, Path, Callable[[str], None]], Path]

_ABLATIONS: dict[str, Ablation] = {"attention": ablate_attention}


def ablation_named(name: str) -> Ablation:
    """The ablation of a name: it takes a recipe, a folder and what says a line.

    Raises:
        UserError: there is none of this name.
    """
    if name in _ABLATIONS:
        return _ABLATIONS[name]
    near = difflib.get_close_matches(name, _ABLATIONS, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(_ABLATIONS)}"
    raise UserError(f"no ablation {name!r}; {hint}")
