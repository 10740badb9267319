"""What a classifier of `arriero corpus train-toxicity` reaches on ToxiGen's demonstrations.

    python benchmarks/toxicity.py FOLDER [--write LABELLED.jsonl]

FOLDER holds ToxiGen's prompts: `hate_GROUP_1k.txt` and `neutral_GROUP_1k.txt`, in which each line
is a few sentences in some order, with `\\n- ` between. A thousand lines of a file are made of a
dozen to a hundred sentences, so a split of lines would show every held-out sentence in training.
Here a sentence counts once. Three figures: held out at random, over five seeds; and, harder, a
group held out whole, with its neutral lines, so that the group's name says nothing.
--write: the distinct sentences as rows that `arriero corpus train-toxicity` reads.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

from arriero.corpus.analyses.line_training import (
    Fitting,
    LabelledLine,
    evaluate_lines,
    fit_lines,
)

SEEDS = range(5)


def sentences(path: Path) -> Iterator[str]:
    """The distinct sentences of a file of prompts, in order."""
    seen: set[str] = set()
    for line in path.read_text(encoding="utf-8").splitlines():
        for part in line.split("\\n"):
            sentence = part.strip().removeprefix("-").strip()
            if sentence and sentence not in seen:
                seen.add(sentence)
                yield sentence


def read_groups(folder: Path) -> dict[str, list[LabelledLine]]:
    """The labelled sentences of each group."""
    groups: dict[str, list[LabelledLine]] = {}
    for path in sorted(folder.glob("*_1k.txt")):
        kind, _, group = path.stem.removesuffix("_1k").partition("_")
        groups.setdefault(group, []).extend(
            LabelledLine(sentence, kind == "hate") for sentence in sentences(path)
        )
    return groups


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--write", type=Path, metavar="FILE")
    options = parser.parse_args()
    groups = read_groups(options.folder)
    lines = [line for group in groups.values() for line in group]
    toxic = sum(line.is_toxic for line in lines)
    print(f"{len(lines)} distinct sentences, {toxic} of them toxic, {len(groups)} groups")
    if options.write:
        rows = [json.dumps({"text": line.text, "label": int(line.is_toxic)}) for line in lines]
        options.write.write_text("\n".join(rows) + "\n", encoding="utf-8")
    began = time.process_time()
    held = [fit_lines(lines, Fitting(seed=seed)).facts["held_out"] for seed in SEEDS]
    print(
        f"held out at random: accuracy {fmean(x['accuracy'] for x in held):.1%} "
        f"({min(x['accuracy'] for x in held):.1%} to {max(x['accuracy'] for x in held):.1%}), "
        f"AUC {fmean(x['auc'] for x in held):.3f}, "
        f"calibration error {fmean(x['calibration_error'] for x in held):.3f}, "
        f"{fmean(x['lines'] for x in held):.0f} sentences each"
    )
    print(f"{(time.process_time() - began) / len(SEEDS):.1f} s of a core for a fit")
    for group, own in groups.items():
        if len({line.is_toxic for line in own}) < 2:
            continue
        others = [line for name, kept in groups.items() if name != group for line in kept]
        found = evaluate_lines(fit_lines(others, Fitting()), own)
        low, high = found["accuracy_interval"]
        print(
            f"without {group}: accuracy {found['accuracy']:.1%} (95%: {low:.1%} to {high:.1%}), "
            f"AUC {found['auc']:.3f}, {found['lines']} sentences, {found['toxic']} toxic"
        )


if __name__ == "__main__":
    main()
