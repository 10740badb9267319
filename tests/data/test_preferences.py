"""Every way to write a pair becomes the same preference."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from arriero.data.dialogs import to_messages
from arriero.data.preferences import read_preferences
from arriero.data.tags import prompt_id
from arriero.records import Message, Rating, UserError

U, GOOD, BAD = "Who carries the salt?", "The mule does.", "Salt."
PROMPT = [{"role": "user", "content": U}]


def answer(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def spoken(*texts: str) -> str:
    return "".join(f"\n\n{('Human', 'Assistant')[i % 2]}: {text}" for i, text in enumerate(texts))


def sibling(text: str, rank: int | None) -> dict[str, Any]:
    return {"message_id": text, "text": text, "role": "assistant", "rank": rank}


TREE = {
    "message_tree_id": "0",
    "prompt": {
        "message_id": "0",
        "text": U,
        "role": "prompter",
        "replies": [sibling(BAD, 1), sibling(GOOD, 0), sibling("?", None)],
    },
}

ONE_PAIR: dict[str, Any] = {
    "strings": {"prompt": U, "chosen": GOOD, "rejected": BAD},
    "messages": {"prompt": PROMPT, "chosen": answer(GOOD), "rejected": answer(BAD)},
    "whole dialogs beside a prompt": {
        "prompt": U,
        "chosen": PROMPT + answer(GOOD),
        "rejected": PROMPT + answer(BAD),
    },
    "whole dialogs": {"chosen": PROMPT + answer(GOOD), "rejected": PROMPT + answer(BAD)},
    "hh": {"chosen": spoken(U, GOOD), "rejected": spoken(U, BAD)},
    "prompt as transcript": {"prompt": spoken(U, ""), "chosen": GOOD, "rejected": BAD},
    "end marks": {"prompt": U, "chosen": GOOD + "</s>", "rejected": BAD + "<|im_end|>\n"},
    "oasst": TREE,
}


@pytest.mark.parametrize("row", ONE_PAIR.values(), ids=list(ONE_PAIR))
def test_each_format_gives_the_same_pair(write_rows, row: dict[str, Any]) -> None:
    (pair,) = read_preferences(write_rows("set/pairs.jsonl", [row]), track="safety")
    assert pair.prompt == (Message("user", U),)
    assert (pair.chosen, pair.rejected) == (GOOD, BAD)
    assert (pair.rating, pair.chosen_is_safe, pair.rejected_is_safe) == (None, None, None)
    assert (pair.track, pair.source, pair.annotator) == ("safety", "set/pairs", "")
    assert pair.prompt_id == prompt_id(pair.prompt)


def test_tags_are_read(write_rows) -> None:
    row = {
        **ONE_PAIR["strings"],
        "rating": "slightly better",
        "chosen_is_safe": True,
        "rejected_is_safe": False,
        "track": "safety",
        "prompt_id": 7,
        "source": "own",
        "annotator": "ana",
    }
    (pair,) = read_preferences(write_rows("a.jsonl", [row]))
    assert pair.rating is Rating.SLIGHTLY_BETTER
    assert (pair.chosen_is_safe, pair.rejected_is_safe) == (True, False)
    assert (pair.track, pair.prompt_id, pair.source) == ("safety", "7", "own")
    assert pair.annotator == "ana"


LOG = "Human: Who walks? \n\nAssistant: A mule.\n\nHuman: Sum this up."


@pytest.mark.parametrize("system", [None, "Be brief."])
def test_sides_that_repeat_the_prompt_say_whether_it_is_a_transcript(
    write_rows, system: str | None
) -> None:
    first = [{"role": "system", "content": system}] if system else []
    asked = [*first, {"role": "user", "content": LOG}]
    split = [
        {"role": ("user", "assistant")[n % 2], "content": text}
        for n, text in enumerate(("Who walks?", "A mule.", "Sum this up."))
    ]
    rows = [
        {"prompt": LOG, "system": system, "chosen": before + answer(GOOD), "rejected": other}
        for before in (asked, first + split)
        for other in (before + answer(BAD), answer(BAD), BAD)
    ]
    pairs = list(read_preferences(write_rows("a.jsonl", rows)))
    assert [pair.prompt for pair in pairs[:3]] == 3 * [tuple(to_messages(asked))]
    assert [pair.prompt for pair in pairs[3:]] == 3 * [tuple(to_messages(first + split))]
    assert {(pair.chosen, pair.rejected) for pair in pairs} == {(GOOD, BAD)}


def test_two_sides_that_read_the_prompt_apart_are_refused(write_rows) -> None:
    split = [{"role": "user", "content": "Who walks?"}, *answer("A mule.")]
    split.append({"role": "user", "content": "Sum this up."})
    asked = [{"role": "user", "content": LOG}]
    row = {"prompt": LOG, "chosen": asked + answer(GOOD), "rejected": split + answer(BAD)}
    with pytest.raises(UserError, match="a side should be one answer, or the prompt and then one"):
        list(read_preferences(write_rows("a.jsonl", [row])))


def test_several_turns_keep_their_history(write_rows) -> None:
    row = {"chosen": spoken("a", "b", "c", "d"), "rejected": spoken("a", "b", "c", "e")}
    (pair,) = read_preferences(write_rows("a.jsonl", [row]))
    assert [message.content for message in pair.prompt] == ["a", "b", "c"]
    assert (pair.chosen, pair.rejected) == ("d", "e")


def test_pairs_without_a_choice_are_counted(write_rows) -> None:
    doubled = "\n\nHuman: a\n\nAssistant: b\n\nAssistant: c"
    path = write_rows(
        "a.jsonl",
        [
            {"chosen": spoken("a", "b"), "rejected": spoken("a", "b ")},
            {"prompt": "a", "chosen": "b", "rejected": " b"},
            {"chosen": spoken("a", "b"), "rejected": spoken("x", "c")},
            {"chosen": spoken("a", "b"), "rejected": spoken("a", "b", "c", "d")},
            {"chosen": spoken("a", "b", "c"), "rejected": spoken("a", "b", "d")},
            {"chosen": spoken("a", ""), "rejected": spoken("a", "b")},
            {"chosen": spoken("a", "", "c", "d"), "rejected": spoken("a", "", "c", "e")},
            {"prompt": "a", "chosen": "b", "rejected": ""},
            {"chosen": doubled, "rejected": doubled + "d"},
            {"message_tree_id": "0", "prompt": {**TREE["prompt"], "replies": []}},
            ONE_PAIR["hh"],
        ],
    )
    skipped: Counter[str] = Counter()
    assert len(list(read_preferences(path, skipped=skipped))) == 1
    assert skipped == {
        "chosen and rejected are the same": 2,
        "the two sides do not share one prompt": 3,
        "empty answer": 3,
        "turns out of order or empty": 1,
        "no ranked answers in the tree": 1,
    }


PAIR = ONE_PAIR["strings"]
WRONG: list[tuple[Any, str]] = [
    ({**PAIR, "rating": "best"}, "the rating 'best' is unknown; known are significantly_better"),
    ({**PAIR, "chosen_is_safe": "yes"}, "'chosen_is_safe' should be true, false or null"),
    ({**PAIR, "track": "harm"}, "the track 'harm' is unknown"),
    ({**PAIR, "chosen": None}, "'chosen' should be a string or messages"),
    ({**PAIR, "prompt": 4}, "'prompt' should be a string or messages"),
    ({**PAIR, "prompt": " "}, "user message 1 is empty"),
    ({**PAIR, "prompt": answer("a")}, "message 1 should come from the user"),
    ({**PAIR, "prompt": PROMPT + answer("a")}, "a prompt ends with a user message"),
    ({**PAIR, "chosen": PROMPT}, "a side should be one answer"),
    ({**PAIR, "chosen": answer("x") + answer("y")}, "a side should be one answer"),
    ({"chosen": "a", "rejected": "b"}, "there is no 'prompt'"),
    ({"prompt": "a", "chosen": "b"}, "this row holds a prompt or a line of plain text"),
    ({"prompt": "a", "completion": "b"}, "this row holds a dialog (completion), but preferences"),
]


@pytest.mark.parametrize(("row", "message"), WRONG)
def test_wrong_rows_are_named_by_file_and_line(write_rows, row: Any, message: str) -> None:
    path = write_rows("a.jsonl", [PAIR, row])
    with pytest.raises(UserError) as caught:
        list(read_preferences(path))
    assert str(caught.value).startswith(f"{path}:2: {message}")
