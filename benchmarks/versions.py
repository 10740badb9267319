"""The figures of docs/results.md from finished runs of `tiny-versions`: mean and range over seeds.

for seed in 0 1 2; do
  arriero run tiny-versions --run runs/versions-$seed --seed $seed --data.world.seed $seed
done
python benchmarks/versions.py runs/versions-0 runs/versions-1 runs/versions-2
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Results = dict[str, Any]


def read(run: Path, stage: str) -> Results:
    """The results of the stage of a run whose folder ends so."""
    return json.loads(next(run.glob(f"*-{stage}/results.json")).read_text(encoding="utf-8"))


def shown(values: Sequence[float], digits: int = 3) -> str:
    """The mean, and the range where there are several."""
    mean = f"{sum(values) / len(values):.{digits}f}"
    if len(values) == 1:
        return mean
    return f"{mean} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def row(name: str, by_version: Sequence[Sequence[float]], digits: int = 3) -> None:
    """One line of the table: a value for each version, in order."""
    print("| " + " | ".join([name, *(shown(values, digits) for values in by_version)]) + " |")


def share(results: Results, version: str, sets: Sequence[str]) -> float:
    """Wins over the newest SFT model by the oracle, win / (win + loss), sets together."""
    rows = [
        one
        for one in results["wins"]
        if (one["a"], one["b"], one["judge"]) == (version, results["baseline"], "oracle")
        and one["set"] in sets
    ]
    wins, losses = (sum(one[key] for one in rows) for key in ("wins", "losses"))
    return wins / (wins + losses)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("runs", type=Path, nargs="+")
    runs = [read(run, "evaluate") for run in parser.parse_args().runs]
    versions = [version for version in runs[0]["sets"]["ordinary"] if version != "base"]
    tuned = [version for version in versions if not version.startswith("sft")]
    print("| | " + " | ".join(versions) + " |\n|" + "---|" * (len(versions) + 1))
    for name, where, key in (
        ("right, ordinary", "ordinary", "right"),
        ("right, borderline", "borderline", "right"),
        ("violations, adversarial", "adversarial", "violations"),
        ("false refusals, ordinary", "ordinary", "false_refusals"),
        ("false refusals, borderline", "borderline", "false_refusals"),
    ):
        row(name, [[run["sets"][where][one][key] for run in runs] for one in versions])
    rhymes = [run["capabilities"]["by_category"]["rhyme"] for run in runs]
    row("rhymes right", [[by[one] for by in rhymes] for one in versions])
    print("\nwin / (win + loss) against the newest SFT model, by the oracle")
    for name, sets in (
        ("all prompts", ("ordinary", "borderline", "adversarial")),
        ("ordinary and borderline prompts", ("ordinary", "borderline")),
        ("ordinary prompts", ("ordinary",)),
    ):
        row(name, [[share(run, one, sets) for run in runs] for one in tuned])
    print("\nscore by the last reward models less that of the version before, all prompts, 95%")
    for number, run in enumerate(runs):
        for before, one in itertools.pairwise(versions):
            for entry in run["paired_rewards"]:
                if (entry["a"], entry["b"], entry["set"]) == (one, before, "all"):
                    interval = f"({entry['low']:.3f} to {entry['high']:.3f})"
                    print(f"  run {number}: {one} {entry['difference']:+.3f} {interval}")
    print(
        "\nrewards and oracle, rank correlation; models' and annotators' agreement with the oracle"
    )
    for key in ("answers", "versions"):
        print(f"  {key}: {shown([run['moves_together'][key] for run in runs])}")
    for track in ("helpfulness", "safety"):
        for key in ("oracle_agreement", "annotator_agreement", "target"):
            print(f"  {track} {key}: {shown([run['reward_models'][track][key] for run in runs])}")
    for number, run in enumerate(runs):
        rhymes_lost = [
            f"{loss['version']} {loss['difference']:+.3f}"
            for loss in run["capabilities"]["losses"]
            if loss["category"] == "rhyme"
        ]
        print(f"  run {number}: rhymes lost: {', '.join(rhymes_lost) or 'never'}")


if __name__ == "__main__":
    main()
