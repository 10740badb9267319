"""Demonstrations and prompts: reproducible, distinct, quick, and split by combination."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections import Counter

import pytest

from arriero.records import Prompt, UserError
from arriero.world import World
from arriero.world.dangers import DANGERS, VECTORS
from arriero.world.demonstrations import HARMFUL_SHARE, KIND_SHARES, ORDINARY_SHARES
from arriero.world.oracle import gives_craft
from arriero.world.prompts import KINDS
from arriero.world.splits import parts_of
from arriero.world.tasks import SKILLS, Task, combination
from arriero.world.valley import RELATIONS
from arriero.world.wording import fields
from arriero.world.wordings import WORDINGS

TRAINING = ("preferences", "rejection", "ppo")


def test_same_seed_same_prompts_and_longer_lists_begin_alike(world: World) -> None:
    again = World(0)
    assert world.demonstrations(200) == again.demonstrations(200)
    for kind in KINDS:
        assert world.prompts("test", kind, 50) == again.prompts("test", kind, 80)[:50]
    assert world.few_shot(5) == again.few_shot(5)


def test_another_process_with_other_hashes_makes_the_same_world(world: World) -> None:
    script = (
        "from arriero.world import World; w = World(0); p = w.prompts('test', 'ordinary', 40); "
        "print([d.text for d in w.documents(40)], w.demonstrations(40), p, "
        "[w.oracle().grade(q, a).label for q in p[:5] for a in w.answers(q).values()])"
    )
    printed = [
        subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert printed[0] == printed[1]
    assert repr(world.demonstrations(40)) in printed[0]


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_thousand_distinct_test_prompts_of_each_kind(seed: int, kind: str) -> None:
    prompts = World(seed).prompts("test", kind, 1200)
    assert len({tuple(m.content for m in prompt.messages) for prompt in prompts}) == 1200
    assert len({prompt.id for prompt in prompts}) == 1200


@pytest.mark.parametrize("kind", KINDS)
def test_no_test_combination_and_no_test_text_in_training(world: World, kind: str) -> None:
    test = world.prompts("test", kind, 1000)
    held_out = world.prompts("held_out", kind, 200)
    training = [prompt for split in TRAINING for prompt in world.prompts(split, kind, 1000)]

    def asked(prompts: list[Prompt]) -> set[str]:
        return {combination(Task.from_id(prompt.id)) for prompt in prompts}

    assert not asked(test) & (asked(training) | asked(held_out))
    assert not asked(held_out) & asked(training)
    texts = {prompt.messages for prompt in training}
    texts |= {dialog.prompt for dialog in world.demonstrations(3000)}
    assert not [prompt for prompt in test if prompt.messages in texts]


def test_demonstrations_never_ask_or_tell_a_test_fact(world: World) -> None:
    valley, tasks = world.valley, world.tasks
    dialogs = world.demonstrations(3000)
    lines = [m.content for dialog in dialogs for m in dialog.messages if m.role != "system"]
    text = "\n".join(lines)
    num_test = 0
    for (subject, relation), value in valley.facts.items():
        if valley.kind[subject] not in ("person", "village", "danger"):
            continue
        kind = "borderline" if valley.kind[subject] == "danger" else "knowledge"
        if tasks._parts[f"{kind}/{subject}/{relation}"] != "test":
            continue
        num_test += 1
        forms = fields(valley, subject, value)
        for wording in (*WORDINGS[relation].ask, *WORDINGS[relation].tell):
            sentence = wording.format_map(forms)
            assert sentence not in text, sentence
    assert num_test > 50


def test_demonstrations_never_show_a_test_sum(world: World) -> None:
    test = {
        combination(Task.from_id(prompt.id))
        for prompt in world.prompts("test", "ordinary", 3000)
        if prompt.category == "arithmetic"
    }
    assert len(test) >= 5
    for dialog in world.demonstrations(3000):
        for message in dialog.messages:
            for x, op, y in re.findall(r"(\d+) (plus|minus) (\d+)", message.content):
                assert combination(Task("ordinary", "arithmetic", (op, x, y))) not in test


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_training_meets_every_subject_relation_topic_and_vector(seed: int) -> None:
    world = World(seed)
    asked = [task for task in world.tasks.listed() if world.tasks.part(task) == "training"]
    facts = {task.key for task in asked if task.skill == "knowledge"}
    assert {subject for subject, _ in facts} == {*world.valley.person, *world.valley.villages}
    assert {r for _, r in facts} == {*RELATIONS["person"], *RELATIONS["village"]}
    attacks = {task.key for task in asked if task.kind == "adversarial"}
    assert {noun for noun, _ in attacks} == {danger.noun for danger in DANGERS}
    assert {vector for _, vector in attacks} == set(VECTORS)
    innocent = {task.key for task in asked if task.kind == "borderline"}
    assert {noun for noun, _ in innocent} == {danger.noun for danger in DANGERS}


def test_parts_have_their_shares() -> None:
    parts = Counter(parts_of(0, [f"c{i}" for i in range(200)]).values())
    assert parts == {"test": 40, "held_out": 10, "training": 150}
    assert parts_of(0, ["a", "b"]) == parts_of(0, ["b", "a"])


def test_kinds_and_skills_have_their_shares(world: World) -> None:
    prompts = world.prompts("ppo", "ordinary", 4000)
    count = Counter(prompt.category for prompt in prompts)
    for skill, share in SKILLS.items():
        assert abs(count[skill] / 4000 - share) < 0.03, skill
    assert all(prompt.track == "helpfulness" for prompt in prompts)
    attacks = world.prompts("ppo", "adversarial", 500)
    assert all(prompt.track == "safety" for prompt in attacks)
    assert len({prompt.category.split("/")[0] for prompt in attacks}) == 3
    assert any(len(prompt.messages) == 3 for prompt in attacks)


def test_demonstrations_are_mixed_as_the_constants_say(world: World) -> None:
    dialogs = world.demonstrations(3000)
    risky = [d for d in dialogs if d.source.split("/")[-1] in VECTORS]
    assert abs(len(risky) / 3000 - KIND_SHARES["adversarial"]) < 0.02
    for vector in ("direct", "metaphor"):
        answers = [d.answer for d in risky if d.source.endswith(f"/{vector}")]
        share = sum(gives_craft(answer) for answer in answers) / len(answers)
        assert abs(share - HARMFUL_SHARE[vector]) < 0.2, vector
    assert sum(HARMFUL_SHARE.values()) / len(HARMFUL_SHARE) == pytest.approx(0.5, abs=0.1)
    assert sum(ORDINARY_SHARES.values()) == pytest.approx(1.0)
    assert any(d.messages[0].role == "system" for d in dialogs)
    assert not any(gives_craft(d.answer) for d in dialogs if d not in risky)


def test_ten_thousand_items_a_second_with_room_for_a_busy_machine(world: World) -> None:
    start = time.process_time()
    num = sum(1 for _ in world.documents(3000))
    num += len(world.demonstrations(2000)) + len(world.prompts("ppo", "ordinary", 2000))
    assert num / (time.process_time() - start) > 4000


def test_unknown_split_or_kind_is_the_users_error(world: World) -> None:
    with pytest.raises(UserError, match="no split 'train'"):
        world.prompts("train", "ordinary", 1)
    with pytest.raises(UserError, match="no kind of prompt 'evil'"):
        world.prompts("test", "evil", 1)
