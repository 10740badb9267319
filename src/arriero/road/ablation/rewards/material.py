"""What a study of reward models starts from: chat models and comparisons, of finished runs or made.

Without a run to start from, the road is gone as far as the comparisons, in the study's own folder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from arriero.records import UserError
from arriero.records.prompt import Track
from arriero.road.manifest import hash_inputs
from arriero.road.recipe import Recipe
from arriero.road.run import Step, run_steps
from arriero.road.stations import PREFERENCES, REWARDS, SFT, stations

Say = Callable[[str], None]


@dataclass(frozen=True)
class Material:
    """Paths of everything that a study reads.

    Attributes:
        chats: folders of chat models by name; the first belongs to the recipe itself.
        train, test: comparisons by track.
    """

    chats: Mapping[str, Path]
    train: Mapping[Track, list[Path]]
    test: Mapping[str, list[Path]]

    def hash(self) -> str:
        """Of all files: what is trained on others is another study."""
        files = {f"train {name}": paths for name, paths in self.train.items()}
        files |= {f"test {name}": paths for name, paths in self.test.items()}
        for name, folder in self.chats.items():
            files[f"chat {name}"] = sorted(filter(Path.is_file, folder.iterdir()))
        return hash_inputs(files)


def steps_before(recipe: Recipe, run: Path, last: str) -> list[Step]:
    """The stations of a recipe up to one of them."""
    steps = stations(recipe, run)
    return steps[: [step.name for step in steps].index(last) + 1]


def material_of(runs: Sequence[Path]) -> Material:
    """The chat models of finished runs, and the comparisons of the first.

    Raises:
        UserError: a run lacks one of them.
    """
    chats: dict[str, Path] = {}
    for run in runs:
        name = run.resolve().name
        if name in chats:
            raise UserError(f"{run}: two runs are called {name}; rename one of them")
        chats[name] = run / SFT / "model"
    train: dict[Track, list[Path]] = {}
    test: dict[str, list[Path]] = {}
    for track in REWARDS:
        train[track] = [runs[0] / PREFERENCES / f"{track}-train.jsonl"]
        test[track] = [runs[0] / PREFERENCES / f"{track}-test.jsonl"]
    wanted = [chat / "config.json" for chat in chats.values()]
    wanted += [path for paths in (*train.values(), *test.values()) for path in paths]
    for path in wanted:
        if not path.is_file():
            raise UserError(
                f"{path}: not there; --from-run takes a run that got as far as its comparisons"
            )
    return Material(chats, train, test)


def make_material(recipe: Recipe, run: Path, say: Say) -> Material:
    """Go the road as far as the comparisons, in `run`."""
    run_steps(steps_before(recipe, run, PREFERENCES), recipe, run, say)
    made = material_of([run])
    return Material({recipe.name: run / SFT / "model"}, made.train, made.test)
