"""Where prompts and comparisons of a run lie: drawn with the world, or kept back from files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from arriero.data.prompts import prompts_file
from arriero.records.prompt import Track
from arriero.road.inputs import TEST_SETS, Inputs, open_set
from arriero.road.names import INPUTS, TRACKS, StationNames
from arriero.road.recipe import Recipe


class RunFiles:
    """Paths of a run's prompts and comparisons, whether they are there yet or not."""

    def __init__(self, run: Path, recipe: Recipe, inputs: Inputs, names: StationNames) -> None:
        self._run, self._names = run, names
        self._has_world = inputs.world is not None
        self._has_open_sets = self._has_world and recipe.data.world.open_comparisons > 0
        first = run / names.versions[0].preferences
        self._prompts = run / INPUTS if self._has_world else first
        self._num_versions = len(names.versions)

    def prompts(self, split: str, version: int) -> Path:
        """Prompts of `preferences`, `comparisons`, `rejection` or `ppo`, fresh for each version."""
        return prompts_file(self._prompts, split, version, self._num_versions)

    def held_out(self) -> Path:
        """Prompts of PPO's early stop, the same for all versions: they are no one's to learn."""
        return self._prompts / "prompts-held_out.jsonl"

    def comparisons(self, track: Track, split: str, version: int) -> list[Path]:
        """Comparisons of `train` or `test` of all versions up to one, each in its own file."""
        folders = [one.preferences for one in self._names.versions if one.number <= version]
        return [self._run / folder / f"{track}-{split}.jsonl" for folder in dict.fromkeys(folders)]

    def training(self, track: Track, version: int) -> list[Path]:
        """All comparisons that the reward models of a version may learn from."""
        crowd = open_set(self._run / INPUTS, track)
        found = self.comparisons(track, "train", version)
        return [*found, *([crowd] if self._has_open_sets else [])]

    def test_sets(self) -> Mapping[str, Path]:
        """Prompt files of the final evaluation by name."""
        names = TEST_SETS if self._has_world else TRACKS
        return {name: self._prompts / f"prompts-test-{name}.jsonl" for name in names}
