"""Open Assistant trees: every message has replies, and sibling replies are ranked by people.

A tree becomes one dialog, the best-ranked path from the root, and one preference for every two
ranked sibling answers. Messages that were deleted, failed review or are empty are left out with
all that hangs below them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

from arriero.records import Message

Node = dict[str, Any]


def is_tree(value: Any) -> bool:
    """Whether a row is a whole tree: a message under `prompt`, named by `message_tree_id`."""
    return (
        isinstance(value, dict) and "message_tree_id" in value and is_message(value.get("prompt"))
    )


def is_message(value: Any) -> bool:
    """Whether a row is one message of a tree, with or without the replies to it."""
    return (
        isinstance(value, dict)
        and "text" in value
        and isinstance(value.get("message_id"), str)
        and isinstance(value.get("parent_id"), str | None)
        and value.get("role") in ("prompter", "assistant")
    )


def root_of(value: Node) -> Node:
    """The first message of a row that is a tree or a message with its replies."""
    return value["prompt"] if is_tree(value) else value


def link_replies(messages: list[Node]) -> tuple[list[Node], int]:
    """Hang flat messages below their parents.

    Args:
        messages: each with `message_id` and `parent_id` (None at a root), in any order.

    Returns:
        The roots, and the number of messages whose parent is not there.
    """
    linked = {message["message_id"]: {**message, "replies": []} for message in messages}
    roots: list[Node] = []
    num_orphans = 0
    for message in messages:
        node = linked[message["message_id"]]
        node["replies"] += message.get("replies") or []
        parent = message.get("parent_id")
        if parent is None:
            roots.append(node)
        elif parent in linked:
            linked[parent]["replies"].append(node)
        else:
            num_orphans += 1
    return roots, num_orphans


def best_path(root: Node, dropped: Counter[str]) -> list[Message]:
    """The best-ranked dialog of a tree, ending with an answer; empty if there is none.

    After an answer it goes on with the best-ranked question that was answered.
    """
    path: list[Message] = []
    node: Node | None = root if _is_usable(root, dropped) else None
    while node is not None:
        answers = _replies(node, "assistant", dropped)
        if not answers:
            break
        path += [_message(node), _message(answers[0])]
        questions = _replies(answers[0], "prompter", dropped)
        node = next((each for each in questions if _replies(each, "assistant", Counter())), None)
    return path


def ranked_pairs(
    root: Node, dropped: Counter[str]
) -> Iterator[tuple[tuple[Message, ...], str, str]]:
    """Yield (prompt, better answer, worse answer) for every two siblings of different rank."""
    waiting: list[tuple[Node, tuple[Message, ...]]] = []
    if _is_usable(root, dropped):
        waiting.append((root, (_message(root),)))
    while waiting:
        node, prompt = waiting.pop()
        answers = _replies(node, "assistant", dropped)
        ranked = [answer for answer in answers if _rank(answer) < math.inf]
        for position, better in enumerate(ranked):
            for worse in ranked[position + 1 :]:
                if _rank(better) < _rank(worse):
                    yield prompt, better["text"].strip(), worse["text"].strip()
        for answer in answers:
            for question in _replies(answer, "prompter", dropped):
                longer = (*prompt, _message(answer), _message(question))
                waiting.append((question, longer))


def _replies(node: Node, role: str, dropped: Counter[str]) -> list[Node]:
    """Usable replies of one role, best rank first; those without a rank last, as they stand."""
    replies: list[Node] = node.get("replies") or []
    if not isinstance(replies, list) or not all(is_message(reply) for reply in replies):
        raise ValueError("a reply lacks message_id, text or role; mend or remove the row")
    same_role = (reply for reply in replies if reply["role"] == role)
    return sorted((reply for reply in same_role if _is_usable(reply, dropped)), key=_rank)


def _is_usable(node: Node, dropped: Counter[str]) -> bool:
    if not isinstance(node["text"], str):
        raise ValueError("the text of a message is no string; mend or remove the row")
    if node.get("deleted"):
        dropped["deleted message"] += 1
    elif node.get("review_result") is False:
        dropped["message that failed review"] += 1
    elif not node["text"].strip():
        dropped["empty message"] += 1
    else:
        return True
    return False


def _rank(node: Node) -> float:
    rank = node.get("rank")
    if rank is None:
        return math.inf
    if not isinstance(rank, (int, float)):
        raise ValueError("the rank of a message is no number; mend or remove the row")
    return float(rank)


def _message(node: Node) -> Message:
    return Message("user" if node["role"] == "prompter" else "assistant", node["text"].strip())
