"""What single choices of the paper are worth: `arriero ablate`."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from arriero.records import UserError
from arriero.road.ablation.attention import ablate_attention
from arriero.road.ablation.ghost import study as ghost
from arriero.road.ablation.rewards import folds, margin, mixes, safety_loss, scaling
from arriero.road.ablation.rewards.page import run_study
from arriero.road.recipe import Recipe


class Ablation(Protocol):
    """Takes a recipe, a folder, what says a line, and finished runs to start from."""

    def __call__(
        self,
        recipe: Recipe,
        run: Path,
        say: Callable[[str], None],
        from_runs: Sequence[Path] = (),
    ) -> Path: ...


def _attention(
    recipe: Recipe, run: Path, say: Callable[[str], None], from_runs: Sequence[Path] = ()
) -> Path:
    if from_runs:
        raise UserError("ablate attention trains from nothing; leave --from-run out")
    return ablate_attention(recipe, run, say)


_STUDIES = (margin.STUDY, safety_loss.STUDY, scaling.STUDY, mixes.STUDY)
_ABLATIONS: dict[str, Ablation] = {
    "attention": _attention,
    **{study.name: partial(run_study, study) for study in _STUDIES},
    folds.NAME: folds.cross_validate,
    ghost.NAME: ghost.ablate_ghost,
}


def ablation_named(name: str) -> Ablation:
    """The ablation of a name.

    Raises:
        UserError: there is none of this name.
    """
    if name in _ABLATIONS:
        return _ABLATIONS[name]
    near = difflib.get_close_matches(name, _ABLATIONS, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(_ABLATIONS)}"
    raise UserError(f"no ablation {name!r}; {hint}")
