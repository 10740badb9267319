"""Trees: the best path, the ranked pairs, flat messages."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from arriero.data.oasst import best_path, link_replies, ranked_pairs

ROLE_BELOW = {"prompter": "assistant", "assistant": "prompter"}


def node(
    text: str, *replies: dict[str, Any], role: str = "prompter", **more: Any
) -> dict[str, Any]:
    """A message; replies get the other role."""
    below = [{**reply, "role": ROLE_BELOW[role]} for reply in replies]
    turned = [turn(reply, ROLE_BELOW[role]) for reply in below]
    return {"message_id": text, "text": text, "role": role, "replies": turned, **more}


def turn(message: dict[str, Any], role: str) -> dict[str, Any]:
    replies = [turn(reply, ROLE_BELOW[role]) for reply in message["replies"]]
    return {**message, "role": role, "replies": replies}


def tree() -> dict[str, Any]:
    """Question q; answers a (rank 1), b (rank 0), c (unranked); below b two questions."""
    below_b = [node("x"), node("y", node("z", rank=0), node("w", rank=1))]
    return node("q", node("a", rank=1), node("b", *below_b, rank=0), node("c"))


def test_the_best_path_goes_on_where_a_question_was_answered() -> None:
    assert [message.content for message in best_path(tree(), Counter())] == ["q", "b", "y", "z"]


def test_all_ranked_siblings_are_compared() -> None:
    pairs = {(better, worse) for _, better, worse in ranked_pairs(tree(), Counter())}
    assert pairs == {("b", "a"), ("z", "w")}
    (prompt,) = {prompt for prompt, better, _ in ranked_pairs(tree(), Counter()) if better == "z"}
    assert [message.content for message in prompt] == ["q", "b", "y"]


def test_equal_ranks_are_no_choice() -> None:
    assert list(ranked_pairs(node("q", node("a", rank=0), node("b", rank=0)), Counter())) == []


def test_what_hangs_below_a_dropped_message_goes_with_it() -> None:
    dropped: Counter[str] = Counter()
    deleted = node("b", node("y", node("z")), rank=0, deleted=True)
    failed = node("c", rank=1, review_result=False)
    root = node("q", deleted, failed, node(" ", rank=2), node("a", rank=3))
    assert [message.content for message in best_path(root, dropped)] == ["q", "a"]
    assert dropped == {"deleted message": 1, "message that failed review": 1, "empty message": 1}
    assert list(ranked_pairs(root, Counter())) == []


def test_a_tree_without_an_answer_has_no_path() -> None:
    assert best_path(node("q"), Counter()) == []
    assert best_path(node("q", node("a"), deleted=True), Counter()) == []


@pytest.mark.parametrize("broken", [{"replies": ["a"]}, {"replies": 3}, {"text": 3}])
def test_broken_trees_are_errors(broken: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="mend or remove the row"):
        best_path({**node("q"), **broken}, Counter())


def test_a_rank_that_is_no_number_is_an_error() -> None:
    with pytest.raises(ValueError, match="rank"):
        best_path(node("q", node("a", rank="first")), Counter())


def test_flat_messages_in_any_order_make_the_same_tree() -> None:
    flat: list[dict[str, Any]] = []

    def flatten(message: dict[str, Any], parent: str | None) -> None:
        alone = {key: value for key, value in message.items() if key != "replies"}
        flat.append({**alone, "parent_id": parent})
        for reply in message["replies"]:
            flatten(reply, message["message_id"])

    flatten(tree(), None)
    random.Random(3).shuffle(flat)
    (root,), num_orphans = link_replies(flat)
    assert num_orphans == 0
    assert best_path(root, Counter()) == best_path(tree(), Counter())
    assert set(ranked_pairs(root, Counter())) == set(ranked_pairs(tree(), Counter()))


def test_orphans_are_counted() -> None:
    lost = {**node("a", role="assistant"), "parent_id": "gone"}
    assert link_replies([lost]) == ([], 1)
