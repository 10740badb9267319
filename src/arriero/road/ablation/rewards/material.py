"""What a study of reward models starts from: chat models and comparisons, of finished runs or made.

Without a run to start from, the road is gone as far as the comparisons, in the study's own folder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from arriero.records import UserError
from arriero.records.prompt import Track
from arriero.road.inputs import open_set
from arriero.road.manifest import hash_inputs
from arriero.road.names import INPUTS, TRACKS
from arriero.road.recipe import CROWD, Recipe, load_recipe
from arriero.road.run import Step, run_steps
from arriero.road.stations import names_in, names_of, stations

Say = Callable[[str], None]


@dataclass(frozen=True)
class Material:
    """Paths of everything that a study reads.

    Attributes:
        chats: folders of chat models by name; the first belongs to the recipe itself.
        train, test: comparisons by track.
        crowd: the world's open comparisons by track, where the run drew any.
    """

    chats: Mapping[str, Path]
    train: Mapping[Track, list[Path]]
    test: Mapping[str, list[Path]]
    crowd: Mapping[Track, list[Path]]

    def learned(self, recipe: Recipe) -> dict[Track, list[Path]]:
        """All that may be learned from: open comparisons where the recipe's mix names them."""
        has_crowd = CROWD in recipe.mix.open
        return {
            track: [*paths, *(self.crowd[track] if has_crowd else [])]
            for track, paths in self.train.items()
        }

    def hash(self) -> str:
        """Of all files: what is trained on others is another study."""
        files = {f"train {name}": paths for name, paths in self.train.items()}
        files |= {f"crowd {name}": paths for name, paths in self.crowd.items()}
        files |= {f"test {name}": paths for name, paths in self.test.items()}
        for name, folder in self.chats.items():
            files[f"chat {name}"] = sorted(filter(Path.is_file, folder.iterdir()))
        return hash_inputs(files)


def steps_before(recipe: Recipe, run: Path, last: str) -> list[Step]:
    """The stations of a recipe up to one of them."""
    steps = stations(recipe, run)
    return steps[: [step.name for step in steps].index(last) + 1]


def material_of(runs: Sequence[Path]) -> Material:
    """The newest SFT models of finished runs, and all comparisons of the first.

    Raises:
        UserError: a run lacks one of them, or its recipe cannot be read.
    """
    for run in runs:
        if (run / "recipe.toml").is_file():
            load_recipe(str(run / "recipe.toml"))  # what is wrong with it is said now
    chats: dict[str, Path] = {}
    for run in runs:
        name = run.resolve().name
        if name in chats:
            raise UserError(f"{run}: two runs are called {name}; rename one of them")
        chats[name] = run / names_in(run).sft[-1] / "model"
    found = dict.fromkeys(one.preferences for one in names_in(runs[0]).versions)
    # Of a run that is on its way the versions so far, and one in any case.
    compared = [name for name in found if (runs[0] / name / "manifest.json").is_file()]
    compared = compared or list(found)[:1]
    train: dict[Track, list[Path]] = {}
    test: dict[str, list[Path]] = {}
    crowd: dict[Track, list[Path]] = {}
    for track in TRACKS:
        crowd[track] = [path for path in [open_set(runs[0] / INPUTS, track)] if path.exists()]
        train[track] = [runs[0] / folder / f"{track}-train.jsonl" for folder in compared]
        test[track] = [runs[0] / folder / f"{track}-test.jsonl" for folder in compared]
    wanted = [chat / "config.json" for chat in chats.values()]
    wanted += [path for paths in (*train.values(), *test.values()) for path in paths]
    for path in wanted:
        if not path.is_file():
            raise UserError(
                f"{path}: not there; --from-run takes a run that got as far as its comparisons"
            )
    return Material(chats, train, test, crowd)


def make_material(recipe: Recipe, run: Path, say: Say) -> Material:
    """Go the road as far as the comparisons, in `run`."""
    names = names_of(recipe)
    run_steps(steps_before(recipe, run, names.versions[0].preferences), recipe, run, say)
    made = material_of([run])
    return replace(made, chats={recipe.name: run / names.sft[-1] / "model"})
