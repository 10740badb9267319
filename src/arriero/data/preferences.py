"""Reads preference pairs, with the ratings and safety labels that a data set carries.

A pair is a prompt with two answers, two whole dialogs that differ in the last answer alone (as
messages, or as the transcripts of hh-rlhf), or two ranked siblings of a tree; rows of public sets
with a schema of their own have readers of their own. Pairs without a choice to learn (the same
answer twice, an empty one, two prompts) are skipped and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from arriero.data import files, oasst
from arriero.data.dialogs import clean_answer, plain_prompt, to_messages, to_prompt
from arriero.data.formats import Format, holds_preferences, recognize, unfit
from arriero.data.helpsteer import helpsteer_preferences
from arriero.data.rows import Bad, Row, Skip, convert, read_rows, require
from arriero.data.saferlhf import NO_TRACK, saferlhf_preferences
from arriero.data.strengths import STRENGTH_KEY, listed_turns, rating_of_strength
from arriero.data.tags import prompt_id, to_batch, to_label, to_rating, to_track
from arriero.data.transcripts import split_turns
from arriero.data.ultrafeedback import rating_of_scores, ultrafeedback_preferences
from arriero.records import Message, Preference
from arriero.records.dialog import check_turns
from arriero.records.prompt import Track

Pair = tuple[tuple[Message, ...], str, str]


def read_preferences(
    paths: Path | str | Sequence[Path | str],
    *,
    track: Track | None = "helpfulness",
    skipped: Counter[str] | None = None,
) -> Iterator[Preference]:
    """Yield the preferences of files, folders (their files by name) or hub ids.

    Args:
        paths: one or several.
        track: of rows that name none; sets with a choice for each track are read by its own. None
            refuses rows of such sets, and is helpfulness for the others.
        skipped: counts, by reason, the rows that were of no use.

    Raises:
        UserError: a path is missing or without preferences, or a row is wrong (`file:line: ...`).
    """
    read = partial(preferences_of, track=track)
    return require(files.given_paths(paths), read, "preferences", skipped)


def preferences_of(
    file: Path, track: Track | None = "helpfulness"
) -> Iterator[Preference | Bad | Skip]:
    """The preferences of one file, with what is wrong or of no use in their places."""
    return convert(read_rows(file), partial(to_preferences, track=track))


def to_preferences(row: Row, track: Track | None = "helpfulness") -> Iterator[Preference | Skip]:
    """Yield the preferences of one row: one, or all pairs of a tree or of scored completions.

    Raises:
        ValueError: the row is no preference, or a tag of it is unknown.
    """
    found = recognize(row.value)
    if found != "oasst" and not holds_preferences(found, row.value):
        raise ValueError(unfit(found, row.value, "preferences"))
    track = to_track(row.value.get("track"), track)
    if track is None and found == "saferlhf":
        raise ValueError(NO_TRACK)
    track = track or "helpfulness"
    for pair in _pairs(row.value, found, track):
        if isinstance(pair, Skip):
            yield pair
        elif reason := _flaw(pair, is_log=found == "hh"):
            yield Skip(reason)
        else:
            yield _tagged(pair, row, track)


def _pairs(
    value: dict[str, Any], found: Format | None, track: Track
) -> Iterator[Preference | Skip]:
    """The pairs of a row with their ratings and labels, not yet looked at for flaws."""
    match found:
        case "oasst":
            return _of_tree(value)
        case "helpsteer":
            return helpsteer_preferences(value)
        case "saferlhf":
            return saferlhf_preferences(value, track)
        case "ultrafeedback":
            return ultrafeedback_preferences(value)
        case _:
            return _of_sides(value, found)


def _of_tree(value: dict[str, Any]) -> Iterator[Preference | Skip]:
    dropped: Counter[str] = Counter()
    pairs = list(oasst.ranked_pairs(oasst.root_of(value), dropped))
    yield from (Skip(reason, num) for reason, num in dropped.items())
    if not pairs:
        yield Skip("no ranked answers in the tree")
    yield from (Preference(*pair) for pair in pairs)


def _of_sides(value: dict[str, Any], found: Format | None) -> Iterator[Preference | Skip]:
    """The pair of a row with two sides, rated by name or number, by scores or by a strength."""
    if found == "hh":
        pair = _split_common(_turns(value["chosen"]), _turns(value["rejected"]))
    else:
        pair = _split_pair(value)
    degree = value.get("rating")
    rating = to_rating(value.get("strength") if degree is None else degree)
    # Looked at beside a rating too: scores show that the sides are swapped.
    by_scores = rating_of_scores(value)
    rating = rating or rating_of_strength(value.get(STRENGTH_KEY)) or by_scores
    if isinstance(rating, Skip):
        yield rating
        return
    prompt, chosen, rejected = pair
    yield Preference(
        prompt=prompt,
        chosen=chosen,
        rejected=rejected,
        rating=rating,
        chosen_is_safe=to_label(value.get("chosen_is_safe"), "chosen_is_safe"),
        rejected_is_safe=to_label(value.get("rejected_is_safe"), "rejected_is_safe"),
    )


def _turns(side: str | list[str]) -> list[Message]:
    return split_turns(side) if isinstance(side, str) else listed_turns(side)


def _tagged(pair: Preference, row: Row, track: Track) -> Preference:
    """The pair with what its row says of where it comes from."""
    own_id = row.value.get("prompt_id")
    return replace(
        pair,
        track=track,
        source=row.source,
        prompt_id=prompt_id(pair.prompt) if own_id is None else str(own_id),
        annotator=str(row.value.get("annotator") or ""),
        batch=to_batch(row.value.get("batch")),
    )


def _split_pair(value: dict[str, Any]) -> Pair:
    """Prompt and answers of a row whose sides are answers, or whole dialogs with their prompt."""
    chosen, rejected = (_side(value[key], key) for key in ("chosen", "rejected"))
    if value.get("prompt") is None:
        if isinstance(chosen, str) or isinstance(rejected, str):
            raise ValueError("there is no 'prompt', and the sides are no whole dialogs; add it")
        return _split_common(chosen, rejected)
    if not isinstance(value["prompt"], (str, list)):
        raise ValueError("'prompt' should be a string or messages; mend or remove the row")
    prompt = _prompt_before(value["prompt"], value.get("system"), (chosen, rejected))
    return (tuple(prompt), _last_answer(chosen, prompt), _last_answer(rejected, prompt))


def _prompt_before(
    prompt: str | list[Any], system: Any, sides: Sequence[str | list[Message]]
) -> list[Message]:
    """The messages of `prompt`; sides that repeat it as one message say that it is no transcript.

    A user may ask about a text that reads like a dialog.
    """
    begins = [side[:-1] for side in sides if not isinstance(side, str) and len(side) > 1]
    if isinstance(prompt, str) and begins:
        plain = plain_prompt(prompt, system)
        if all(begin == plain for begin in begins):
            return plain
    return to_prompt(prompt, system)


def _side(side: Any, key: str) -> str | list[Message]:
    if isinstance(side, str):
        return clean_answer(side, key)
    if not isinstance(side, list):
        raise ValueError(f"{key!r} should be a string or messages; mend or remove the row")
    return to_messages(side)


def _last_answer(side: str | list[Message], prompt: list[Message]) -> str:
    """The answer of one side: a string, one message, or the prompt repeated and then the answer."""
    if isinstance(side, str):
        return side
    if side[-1].role != "assistant" or (len(side) > 1 and side[:-1] != prompt):
        raise ValueError("a side should be one answer, or the prompt and then one; mend the row")
    return side[-1].content


def _split_common(chosen: list[Message], rejected: list[Message]) -> Pair:
    """Prompt and answers of two whole dialogs; an empty prompt if they do not share it."""
    if chosen[:-1] != rejected[:-1] or {chosen[-1].role, rejected[-1].role} != {"assistant"}:
        return (), "", ""
    return tuple(chosen[:-1]), chosen[-1].content, rejected[-1].content


def _flaw(pair: Preference, is_log: bool) -> str:
    """Why a pair is of no use, "" if it is. Logs in wrong order are of no use, others wrong."""
    prompt, chosen, rejected = pair.prompt, pair.chosen, pair.rejected
    if not prompt:
        return "the two sides do not share one prompt"
    try:
        check_turns(prompt)
        if prompt[-1].role != "user":
            raise ValueError("a prompt ends with a user message")
    except ValueError as error:
        if is_log:
            return "turns out of order or empty"
        raise ValueError(f"{error}; mend or remove the row") from error
    answers = [message.content for message in prompt if message.role == "assistant"]
    if not all(text.strip() for text in (*answers, chosen, rejected)):
        return "empty answer"
    return "chosen and rejected are the same" if chosen.strip() == rejected.strip() else ""
