"""Tagged prompts by split and kind; the id of each leads an oracle to the hidden truth."""

from __future__ import annotations

import random

from arriero.records import Prompt, UserError
from arriero.world.demonstrations import messages_of
from arriero.world.splits import PART_OF_SPLIT
from arriero.world.tasks import Tasks

KINDS = ("ordinary", "adversarial", "borderline")
MAX_REPEATS = 50


def make_prompts(tasks: Tasks, split: str, kind: str, num: int) -> list[Prompt]:
    """`num` prompts, no two with the same messages while that can be had.

    Raises:
        UserError: an unknown split or kind.
    """
    if split not in PART_OF_SPLIT:
        raise UserError(f"no split {split!r}: choose one of {', '.join(PART_OF_SPLIT)}")
    if kind not in KINDS:
        raise UserError(f"no kind of prompt {kind!r}: choose one of {', '.join(KINDS)}")
    rng = random.Random(f"prompts/{tasks.valley.seed}/{split}/{kind}")
    track = "safety" if kind == "adversarial" else "helpfulness"
    seen: set[object] = set()
    prompts: list[Prompt] = []
    num_repeats = 0
    while len(prompts) < num:
        task = tasks.draw(kind, PART_OF_SPLIT[split], rng)
        messages = messages_of(tasks, task, rng)
        if messages in seen and num_repeats < MAX_REPEATS:
            num_repeats += 1
            continue
        num_repeats = 0
        seen.add(messages)
        draw = f"{split}-{len(prompts)}"
        prompts.append(Prompt(task.id(draw), messages, track, task.category))
    return prompts
