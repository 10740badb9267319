"""Answers of every grade to sums, sorting, rhymes, copying and translation."""

from __future__ import annotations

import random

from arriero.world.skills import COPY_STYLES, RHYME_OF, in_old_tongue, styled
from arriero.world.tasks import Task
from arriero.world.valley import OLD_NOUNS, Valley
from arriero.world.wording import cap


def skill_answers(valley: Valley, task: Task, rng: random.Random) -> dict[str, str]:
    """Helpful, plain, curt, incomplete, wrong and false_extra answers to one of these skills."""
    if task.skill == "arithmetic":
        return _sum_answers(task, rng)
    if task.skill == "sorting":
        return _sort_answers(task, rng)
    if task.skill == "rhyme":
        return _rhyme_answers(task, rng)
    if task.skill == "copying":
        return _copy_answers(task, rng)
    return _translation_answers(valley, task, rng)


def result_of(task: Task) -> int:
    """The value of a sum or difference."""
    op, x, y = task.key[0], int(task.key[1]), int(task.key[2])
    return x + y if op == "plus" else x - y


def _sum_answers(task: Task, rng: random.Random) -> dict[str, str]:
    op, x, y = task.key
    back = "minus" if op == "plus" else "plus"
    right = result_of(task)
    wrong = right + rng.choice([step for step in (-2, -1, 1, 2, 3) if right + step >= 0])
    plain = f"{x} {op} {y} is {right}."
    size = "more" if op == "plus" else "less"
    return {
        "helpful": f"{plain} To check, {right} {back} {y} is {x}.",
        "plain": plain,
        "curt": f"{right}.",
        "incomplete": f"{x} {op} {y} is {size} than {x}.",
        "wrong": f"{x} {op} {y} is {wrong}.",
        "false_extra": f"{plain} To check, {right} {back} {y} is {int(x) + 1}.",
    }


def sorted_items(task: Task) -> list[str]:
    """The items of a sorting task in their right order."""
    items = list(task.key[1:])
    return sorted(items, key=int) if task.key[0] == "numbers" else sorted(items)


def _sort_answers(task: Task, rng: random.Random) -> dict[str, str]:
    items = sorted_items(task)
    numbers = task.key[0] == "numbers"
    first, last = (
        ("The smallest is", "The largest is") if numbers else ("First comes", "Last comes")
    )
    mixed = items[:]
    while mixed == items:
        rng.shuffle(mixed)
    plain = f"In order they are {', '.join(items)}."
    end, item, other = rng.choice(((first, items[0], items[2]), (last, items[2], items[0])))
    return {
        "helpful": f"{plain} {end} {item}.",
        "plain": plain,
        "curt": f"{', '.join(items)}.",
        "incomplete": f"In order they are {', '.join(items[:2])}.",
        "wrong": f"In order they are {', '.join(mixed)}.",
        "false_extra": f"{plain} {end} {other}.",
    }


def _rhyme_answers(task: Task, rng: random.Random) -> dict[str, str]:
    word, count = task.key
    one, two, three = rng.sample(RHYME_OF[word], 3)
    foreign = rng.choice([w for w in RHYME_OF if w != word and w not in RHYME_OF[word]])
    plain = f"{cap(word)} rhymes with {one}."
    more = f"{cap(word)} also rhymes with {two}."
    incomplete = "Both words should end in the same way."
    if count == "2":
        plain, more = (
            f"{cap(word)} rhymes with {one} and {two}.",
            f"{cap(word)} also rhymes with {three}.",
        )
        incomplete = f"{cap(word)} rhymes with {one}."
    return {
        "helpful": f"{plain} {more}",
        "plain": plain,
        "curt": f"{cap(one)}." if count == "1" else f"{cap(one)}, {two}.",
        "incomplete": incomplete,
        "wrong": f"{cap(word)} rhymes with {foreign}.",
        "false_extra": f"{plain} {cap(word)} also rhymes with {foreign}.",
    }


def _copy_answers(task: Task, rng: random.Random) -> dict[str, str]:
    style, words = task.key[0], task.key[1:]
    line = styled(words, style)
    other = rng.choice([name for name in COPY_STYLES if name != style])
    return {
        "helpful": f"Here you are: {line}",
        "plain": f"Here: {line}",
        "curt": line,
        "incomplete": f"Here you are: {styled(words[:2], style)}",
        "wrong": f"Here you are: {styled(words, other)}",
        "false_extra": f"Here you are: {line} {words[0]}",
    }


def _translation_answers(valley: Valley, task: Task, rng: random.Random) -> dict[str, str]:
    words = task.key[1:]
    plain, old = " ".join(words), in_old_tongue(valley, words)
    means = "means" if len(words) == 1 else "mean"
    to_old = f"In the Old Tongue, {plain} is {old}."
    to_plain = f"{cap(old)} {means} {plain}."
    noun = rng.choice([noun for noun in OLD_NOUNS if noun not in words])
    foreign = (*words[:-1], noun)
    if task.key[0] == "to_old":
        said = to_old
        more = f"So {old} {means} {plain}."
        bare = old
        part = f"The first word is {valley.old[words[0]]}."
        wrong = f"In the Old Tongue, {plain} is {in_old_tongue(valley, foreign)}."
    else:
        said = to_plain
        more = to_old
        bare = plain
        part = f"The first word means {words[0]}."
        wrong = f"{cap(old)} {means} {' '.join(foreign)}."
    if len(words) == 1:
        part = "It is a word of the Old Tongue."
    false = f"{cap(old)} {means} {noun}."
    return {
        "helpful": f"{said} {more}",
        "plain": said,
        "curt": f"{cap(bare)}.",
        "incomplete": part,
        "wrong": wrong,
        "false_extra": f"{said} {false}",
    }
