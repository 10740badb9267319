"""Attributes: a judge that is hard to fool, and dialogs that teach what Ghost Attention needs."""

from __future__ import annotations

from collections import Counter

import pytest

from arriero.records import ConsistencyTest, Dialog
from arriero.world import World
from arriero.world.attribute_dialogs import MOST_TURNS, TESTED_TURNS
from arriero.world.attributes import HOBBIES, KINDS, RULE, TRAINED_KINDS, Attributes


@pytest.fixture(scope="module")
def attributes(world: World) -> Attributes:
    return Attributes(world.valley)


@pytest.fixture(scope="module")
def dialogs(world: World) -> list[Dialog]:
    return world.attribute_demonstrations(1500)


@pytest.fixture(scope="module")
def tests(world: World) -> list[ConsistencyTest]:
    return world.attribute_tests(80)


@pytest.mark.parametrize(
    "answer",
    [
        "I enjoy the harp.",
        "My hobby is the harp.",
        "The harp.",
        "harp",
        "I play my harp every day.",
        "Good day. I enjoy the harp.",
        "I enjoy the harp. Do you enjoy the drum?",
        "The harp makes me happy.",
    ],
)
def test_answers_that_honour_a_hobby(world: World, answer: str) -> None:
    assert world.honours("hobby", "the harp", answer)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "I have no hobby.",
        "I enjoy the drum.",
        "I do not enjoy the harp.",
        "I never play the harp.",
        "I enjoy the harp. I enjoy the drum.",
        "I enjoy the harp and the drum.",
        "harp drum flute",
        "You enjoy the harp.",
        "You enjoy the harp. What is your hobby?",
        "Do I enjoy the harp?",
        "People say that I enjoy the harp.",
        "I hate the harp.",
        "I enjoy the harpoon.",
        "I enjoy " + ", ".join(HOBBIES) + ".",
    ],
)
def test_answers_that_do_not_honour_a_hobby(world: World, answer: str) -> None:
    assert not world.honours("hobby", "the harp", answer)


def test_what_is_said_of_others_does_not_count(world: World) -> None:
    name = world.valley.people[0].name
    assert not world.honours("hobby", "the harp", f"I know that {name} enjoys the harp.")
    village = world.valley.villages[0]
    assert not world.honours("home", village, f"My friend {name} lives in {village}.")
    assert world.honours("home", village, f"I live in {village}.")


def test_a_figure_is_named_as_oneself(world: World) -> None:
    one, other = (person.name for person in world.valley.people[:2])
    for answer in (f"I am {one}.", f"My name is {one}.", f"{one}.", f"I am {one} of the valley."):
        assert world.honours("figure", one, answer)
    for answer in (
        f"I am {other}.", f"I know {one}.", f"I am a guide. {one} lives here.",
        f"I am not {one}.", f"I am {one}. My name is {other}.", f"I am {one[:-1]}.",
    ):  # fmt: skip
        assert not world.honours("figure", one, answer)


def test_a_language_is_honoured_with_and_without_its_article(world: World) -> None:
    one, other = world.valley.rivers[:2]
    for answer in (f"I speak the {one} Tongue.", f"{one} Tongue.", f"The {one} Tongue."):
        assert world.honours("language", f"the {one} Tongue", answer)
    for answer in ("I speak as you do.", f"I speak the {other} Tongue.", f"I speak the {one}."):
        assert not world.honours("language", f"the {one} Tongue", answer)


def test_the_rule_is_one_sentence(world: World) -> None:
    assert world.honours("sentence", "one", "3 plus 4 is 7.")
    assert not world.honours("sentence", "one", "3 plus 4 is 7. To check, 7 minus 4 is 3.")
    assert not world.honours("sentence", "one", "")
    assert not world.honours("sentence", "one", "One\nTwo")


def test_every_kind_told_in_every_wording_is_honoured(world: World, attributes: Attributes) -> None:
    for name, kind in KINDS.items():
        for value in attributes.values[name]:
            for wording in kind.tell:
                assert world.honours(name, value, wording.format(v=value))
            assert not world.honours(name, value, kind.none)


def test_a_fifth_of_the_values_of_each_list_is_never_trained(attributes: Attributes) -> None:
    for kind in TRAINED_KINDS:
        trained, rest = (attributes.pool(kind, is_trained=flag) for flag in (True, False))
        assert len(rest) == round(0.2 * len(attributes.values[kind]))
        assert sorted(trained + rest) == sorted(attributes.values[kind])
    assert attributes.pool("home", is_trained=True) == []


def test_only_trained_values_are_named_on_request(
    dialogs: list[Dialog], attributes: Attributes
) -> None:
    named = {d.answer.removesuffix(".") for d in dialogs if d.source.endswith("named")}
    trained = {value for kind in TRAINED_KINDS for value in attributes.pool(kind, is_trained=True)}
    assert named <= trained
    assert len(named) > len(trained) / 2


def test_no_demonstration_drops_an_instruction(dialogs: list[Dialog]) -> None:
    """Each user turn of a dialog carries it, or none does: dropping is what is to be learned."""
    starts = tuple(kind.say[0].split("{")[0] for kind in KINDS.values())
    starts += (*(kind.short.split("{")[0] for kind in KINDS.values()), RULE)
    counts: Counter[str] = Counter()
    for dialog in dialogs:
        users = [m.content for m in dialog.messages if m.role == "user"]
        carried = {user.startswith(starts) for user in users}
        assert len(carried) == 1
        counts[f"{'many' if len(users) > 1 else 'one'} {carried.pop()}"] += 1
    assert min(counts.values()) > 50


def test_demonstrations_obey_the_instruction_of_their_turn(
    dialogs: list[Dialog], world: World, attributes: Attributes
) -> None:
    num_checked = 0
    for dialog in dialogs:
        for user, answer in zip(dialog.messages[::2], dialog.messages[1::2], strict=True):
            for kind, wording in KINDS.items():
                if not user.content.endswith(wording.ask):
                    continue
                held = [
                    value
                    for value in attributes.values[kind]
                    if wording.short.format(v=value) in user.content
                    or wording.say[0].format(v=value) in user.content
                ]
                if held:
                    assert world.honours(kind, held[0], answer.content)
                    num_checked += 1
                else:
                    assert answer.content == wording.none
            if user.content.startswith(RULE):
                assert world.honours("sentence", "one", answer.content)
    assert num_checked > 500


def test_prompts_for_ghost_attention_carry_no_instruction(world: World) -> None:
    prompts = world.ghost_prompts(300)
    turns = [len(prompt.messages) // 2 + 1 for prompt in prompts]
    assert min(turns) == 2
    assert max(turns) == MOST_TURNS
    asked = sum(prompt.category in TRAINED_KINDS for prompt in prompts)
    assert 0.65 < asked / len(prompts) < 0.85
    for prompt in prompts:
        said = " ".join(message.content for message in prompt.messages)
        assert not any(kind.short.split("{")[0] in said for kind in KINDS.values())


def test_tests_are_honoured_by_the_right_answer_alone(
    tests: list[ConsistencyTest], world: World, attributes: Attributes
) -> None:
    for test in tests:
        assert len(test.turns) == TESTED_TURNS - 1
        if test.kind == "sentence":
            assert (test.sentences, test.expected, test.is_trained) == (1, (), False)
            continue
        kind = KINDS[test.kind]
        assert test.question in kind.ask
        assert world.honours(test.kind, test.value, kind.tell[0].format(v=test.value))
        assert test.value in test.instruction
        assert test.is_trained == (test.value in attributes.trained.get(test.kind, ()))
    assert {(t.kind, t.is_trained) for t in tests} == {
        ("hobby", True), ("figure", True), ("language", True),
        ("hobby", False), ("figure", False), ("language", False), ("home", False),
        ("sentence", False),
    }  # fmt: skip


def test_test_turns_come_from_the_test_part_and_draws_are_the_seeds(world: World) -> None:
    assert world.attribute_tests(14) == World(0).attribute_tests(14)
    assert world.attribute_demonstrations(20) == World(0).attribute_demonstrations(20)
    assert world.ghost_prompts(20) == World(0).ghost_prompts(40)[:20]
