"""Ghost Attention's rewriting: what is sampled from, what is learned, and lists of values."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from arriero.alignment.ghost import (
    Wording,
    combined,
    ghost_dialog,
    listed,
    on_every_turn,
    on_first_turn,
    plain_dialog,
)
from arriero.records import Message

DIALOG = (
    Message("user", "Hi."),
    Message("assistant", "Hello."),
    Message("user", "Who are you?"),
)
WORDINGS = {
    "hobby": Wording("You enjoy {}.", "Hobby: {}."),
    "figure": Wording("Act as {}.", "Figure: {}."),
}
LISTS = {"hobby": ["chess", "tennis"], "figure": ["Napoleon"]}


def texts(messages: tuple[Message, ...]) -> list[str]:
    return [message.content for message in messages]


def test_sampled_with_the_instruction_on_every_turn() -> None:
    sampled = on_every_turn(DIALOG, "Act as Napoleon.")
    assert texts(sampled) == ["Act as Napoleon. Hi.", "Hello.", "Act as Napoleon. Who are you?"]


def test_learned_with_the_instruction_on_the_first_turn_and_the_last_answer_alone() -> None:
    dialog = ghost_dialog(DIALOG, "Act as Napoleon.", "I am Napoleon.")
    assert texts(dialog.messages) == [
        "Act as Napoleon. Hi.", "Hello.", "Who are you?", "I am Napoleon.",
    ]  # fmt: skip
    assert dialog.last_answer_only
    assert not dialog.is_cut


def test_a_cut_answer_stays_cut() -> None:
    assert ghost_dialog(DIALOG, "x", "I am", is_cut=True).is_cut


def test_the_control_is_what_was_sampled_with_ordinary_loss() -> None:
    dialog = plain_dialog(DIALOG, "Act as Napoleon.", "I am Napoleon.")
    assert dialog.prompt == on_every_turn(DIALOG, "Act as Napoleon.")
    assert not dialog.last_answer_only


def test_a_system_message_stays_before_the_instruction() -> None:
    messages = (Message("system", "Be kind."), *DIALOG)
    assert texts(on_first_turn(messages, "Act as X."))[:2] == ["Be kind.", "Act as X. Hi."]


@given(
    st.lists(st.tuples(st.text(min_size=1), st.text(min_size=1)), max_size=4),
    st.text(min_size=1),
    st.text(min_size=1),
)
def test_both_differ_on_later_user_turns_only(
    pairs: list[tuple[str, str]], last: str, instruction: str
) -> None:
    messages = tuple(
        message
        for user, answer in pairs
        for message in (Message("user", user), Message("assistant", answer))
    )
    messages = (*messages, Message("user", last))
    every, first = on_every_turn(messages, instruction), on_first_turn(messages, instruction)
    assert every[0] == first[0]
    for given_, one, other in zip(messages[1:], every[1:], first[1:], strict=True):
        assert other == given_
        assert (one == given_) == (given_.role == "assistant")


def test_lists_hold_distinct_well_formed_values_by_frequency() -> None:
    answers = [
        "Tennis.", "tennis", "Tennis", "1. Chess", "chess!", "- Rowing", "Rowing.",
        "I do not know any hobby at all.", "I do not know any hobby at all.",
        "", "", "42", "42", "two\nlines", "two\nlines", "a {} b", "a {} b", "Once",
    ]  # fmt: skip
    assert listed(answers) == ["Tennis", "chess", "Rowing"] or listed(answers) == [
        "Tennis",
        "Chess",
        "Rowing",
    ]
    assert "Once" in listed(answers, least=1)


def test_values_of_several_words_are_kept_up_to_a_length() -> None:
    assert listed(["the Old Tongue."] * 2) == ["the Old Tongue"]
    assert listed(["Jean-Luc O. Picard"] * 2) == ["Jean-Luc O. Picard"]
    assert listed(["one two three four five"] * 2) == []


def test_instructions_are_combined_at_random_and_half_of_them_short() -> None:
    rng = random.Random(0)
    found = [combined(LISTS, WORDINGS, 0.5, rng) for _ in range(4000)]
    short = sum("Figure:" in one.text or "Hobby:" in one.text for one in found)
    assert 0.46 < short / len(found) < 0.54
    sizes = Counter(len(one.values) for one in found)
    assert 0.46 < sizes[1] / len(found) < 0.54
    texts = {one.text for one in found}
    assert {
        "You enjoy chess. Act as Napoleon.",
        "Act as Napoleon. You enjoy chess.",
        "Figure: Napoleon. Hobby: tennis.",
        "Hobby: chess.",
        "Act as Napoleon.",
    } <= texts
    assert len(texts) == 2 * (2 + 1 + 2 * 2)


def test_the_share_of_short_instructions_is_kept_at_its_ends() -> None:
    rng = random.Random(0)
    assert all("Act as" in combined({"figure": ["X"]}, WORDINGS, 0.0, rng).text for _ in range(50))
    assert all("Figure:" in combined({"figure": ["X"]}, WORDINGS, 1.0, rng).text for _ in range(50))


def test_a_value_is_put_in_as_it_is() -> None:
    """Braces in a value are no template."""
    lists = {"figure": ["{0.__class__}"]}
    assert combined(lists, WORDINGS, 0.0, random.Random(0)).text == "Act as {0.__class__}."
