"""The figures of docs/results.md from finished runs of `tiny`: mean and range over seeds.

for seed in 0 1 2; do
  arriero run tiny --run runs/seed-$seed --seed $seed --data.world.seed $seed
done
python benchmarks/goals.py runs/seed-0 runs/seed-1 runs/seed-2
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Results = dict[str, Any]

EVALUATE = "09-evaluate"
REWARDS = {"helpfulness": "05-reward-helpfulness-v1", "safety": "06-reward-safety-v1"}


def read(run: Path, stage: str, name: str = "results.json") -> Results:
    """A JSON file of a stage."""
    return json.loads((run / stage / name).read_text(encoding="utf-8"))


def pair(results: Results, key: str, a: str, b: str, where: str = "all") -> Results:
    """The row of `wins` or `paired` that compares two versions."""
    rows = [r for r in results[key] if (r["a"], r["b"], r["set"]) == (a, b, where)]
    return next(row for row in rows if row.get("judge", "oracle") == "oracle")


def figures(run: Path) -> dict[str, float]:
    """Every measure of one run."""
    results = read(run, EVALUATE)
    sets = results["sets"]
    found: dict[str, float] = {}

    def take(name: str, value: Callable[[], float]) -> None:
        found[name] = value()

    for version in results["versions"]:
        take(f"right, ordinary: {version}", lambda v=version: sets["ordinary"][v]["right"])
    for version in results["versions"][1:]:
        shares = (("violations", "adversarial"), ("false_refusals", "borderline"))
        for key, where in (*shares, ("false_refusals", "ordinary")):
            name = f"{key.replace('_', ' ')}, {where}: {version}"
            take(name, lambda k=key, w=where, v=version: sets[w][v][k])
    for a, b in (("rejection-v1", "sft"), ("ppo-v1", "sft"), ("ppo-v1", "rejection-v1")):
        row = pair(results, "wins", a, b)
        total = row["wins"] + row["ties"] + row["losses"]
        found[f"win / (win + loss): {a} over {b}"] = row["share"]
        found[f"ties: {a} and {b}"] = row["ties"] / total
    row = pair(results, "paired", "ppo-v1", "rejection-v1")
    found["quality, ppo-v1 minus rejection-v1"] = row["difference"]
    found["its 95% interval, low"] = row["low"]
    found["its 95% interval, high"] = row["high"]
    for track, stage in REWARDS.items():
        agreement = results["reward_models"][track]
        found[f"{track} model agrees with the oracle"] = agreement["oracle_agreement"]
        found[f"{track}: 90% of the way to the annotators"] = agreement["target"]
        found[f"{track}: annotators agree with the oracle"] = agreement["annotator_agreement"]
        accuracy = read(run, stage)["accuracy"]
        for test_set, by_rating in accuracy.items():
            found[f"{track} model on {test_set} pairs"] = by_rating["all"]["accuracy"]
        for rating, row in accuracy[track].items():
            if rating != "all":
                found[f"{track} model, {rating.replace('_', ' ')}"] = row["accuracy"]
    manifests = [read(run, path.parent.name, path.name) for path in run.glob("*/manifest.json")]
    found["minutes"] = sum(manifest["seconds"] for manifest in manifests) / 60
    found["GB of memory at most"] = max(manifest["peak_memory_gb"] for manifest in manifests)
    return found


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", type=Path, nargs="+")
    columns = [figures(run) for run in parser.parse_args().runs]
    print("| measure | mean | lowest | highest |\n|---|---|---|---|")
    for name in columns[0]:
        values = [column[name] for column in columns]
        mean = sum(values) / len(values)
        print(f"| {name} | {mean:.3f} | {min(values):.3f} | {max(values):.3f} |")


if __name__ == "__main__":
    main()
