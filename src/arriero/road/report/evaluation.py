"""The evaluation as the report's sections read it: the results, the versions, their colours."""

from __future__ import annotations

from dataclasses import dataclass

from arriero.road.report.drawing import Interval
from arriero.road.report.folder import Json, RunFolder, items, mapping, number, text

_VERSION_ROLES = ("amber", "blue", "green", "purple", "sky", "vermilion", "olive", "ink")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The results of the last evaluation of a run, with a colour for each version."""

    results: Json
    versions: tuple[str, ...]
    roles: tuple[str, ...]

    def rate(self, set_name: str, version: str, key: str) -> Interval | None:
        """A share with its interval, such as (`ordinary`, `sft`, `right`)."""
        entry = mapping(mapping(mapping(self.results.get("sets")).get(set_name)).get(version))
        value = number(entry.get(key))
        if value is None:
            return None
        return value, number(entry.get(f"{key}_low")), number(entry.get(f"{key}_high"))

    @property
    def set_names(self) -> list[str]:
        """The names of the prompt sets."""
        return list(mapping(self.results.get("sets")))

    def role(self, version: str) -> str:
        """The colour of a version."""
        return dict(zip(self.versions, self.roles, strict=True)).get(version, "grey")


def read_evaluation(run: RunFolder) -> Evaluation | None:
    """The last evaluation that has results."""
    stages = [stage for stage in run.of("evaluate") if stage.results]
    if not stages:
        return None
    results = stages[-1].results
    versions = [text(version) for version in items(results.get("versions"))]
    if not versions:
        sets = mapping(results.get("sets")).values()
        versions = [version for entries in sets for version in mapping(entries)]
        versions += list(mapping(results.get("path")))
    versions += list(mapping(results.get("perplexity")))
    versions = sorted(dict.fromkeys(versions), key=lambda version: version != "base")
    tuned = [version for version in versions if version != "base"]
    roles = {
        version: _VERSION_ROLES[index % len(_VERSION_ROLES)] for index, version in enumerate(tuned)
    }
    return Evaluation(results, tuple(versions), tuple(roles.get(v, "grey") for v in versions))
