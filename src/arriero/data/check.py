"""Says what the readers make of a file: format, what is wrong, an example and its loss mask."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from arriero.data import files
from arriero.data.dialogs import to_dialogs
from arriero.data.documents import documents_of, to_document
from arriero.data.formats import Format, detect_format, holds_preferences, recognize
from arriero.data.preferences import to_preferences
from arriero.data.prompts import to_prompts
from arriero.data.rows import Bad, Row, Skip, container_of, convert, read_rows
from arriero.records import Dialog, Message, Preference, Prompt
from arriero.tokenizer.chat import encode_dialog, encode_prompt
from arriero.tokenizer.tokenizer import Tokenizer

Kind = Literal["documents", "dialogs", "preferences", "prompts"]
Example = str | Dialog | Preference | Prompt

OPEN_MARK, CLOSE_MARK = "⟦", "⟧"
MAX_PROBLEMS = 10
_MAX_SHOWN = 600
# Data must not steer the terminal it is shown in.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

_LEARNED = {
    "documents": "what is learned stands in ⟦ ⟧: every token",
    "dialogs": "what is learned stands in ⟦ ⟧: the answers and their ends",
    "preferences": "what is compared stands in ⟦ ⟧, scored at its last token",
    "prompts": "nothing of it is learned: a model answers it",
}


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a file holds.

    `num_rows` counts what was read, `num_usable` what came of it (a row may give several items, or
    none), `num_pairs` the preferences that trees hold besides their dialogs. `first_skipped` says
    where the first row of each reason stands, `problems` are the first bad rows as
    `file:line: ...`.
    """

    path: Path
    format: Format
    kind: Kind
    num_rows: int
    num_usable: int
    num_bad: int
    num_pairs: int
    skipped: dict[str, int]
    first_skipped: dict[str, str]
    problems: tuple[str, ...]
    example: Example | None


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of an example, and whether its tokens are learned."""

    text: str
    is_learned: bool
    num_tokens: int = 0


def check_data(path: Path | str) -> CheckReport:
    """Read a file or folder as its first row suggests, and go on past bad rows.

    Raises:
        UserError: the path is missing, empty, unreadable, or in no format known here.
    """
    (given,) = files.given_paths(path)
    found = detect_format(given)
    kind = _kind_of(given, found)
    counts: Counter[str] = Counter()
    skipped: Counter[str] = Counter()
    first_skipped: dict[str, str] = {}
    problems: list[str] = []
    example: Example | None = None
    num_usable = 0
    for item in _items(given, kind, counts):
        if isinstance(item, Bad):
            problems.append(f"{item.where}: {item.problem}")
        elif isinstance(item, Skip):
            skipped[item.reason] += item.num
            if item.where:
                first_skipped.setdefault(item.reason, item.where)
        else:
            num_usable += 1
            example = item if example is None else example
    return CheckReport(
        path=given,
        format=found,
        kind=kind,
        num_rows=counts["rows"],
        num_usable=num_usable,
        num_bad=len(problems),
        num_pairs=_num_pairs(given) if found == "oasst" else 0,
        skipped=dict(skipped),
        first_skipped=first_skipped,
        problems=tuple(problems[:MAX_PROBLEMS]),
        example=example,
    )


def render_check(report: CheckReport, tokenizer: Tokenizer | None = None) -> str:
    """The report as plain text; what is learned of the example stands in ⟦ ⟧.

    With a tokenizer the example is shown as the model sees it, with tokens counted; without one,
    by its roles.
    """
    lines = [
        f"{report.path}: {report.format} ({report.kind})",
        f"rows: {report.num_rows:,}; usable {report.kind}: {report.num_usable:,}",
    ]
    if report.num_pairs:
        lines.append(f"usable preferences, read as such: {report.num_pairs:,}")
    for reason, num in sorted(report.skipped.items()):
        where = report.first_skipped.get(reason)
        lines.append(f"skipped, {reason}: {num:,}" + (f", first {where}" if where else ""))
    if report.num_bad:
        lines.append(f"wrong rows: {report.num_bad:,}; training refuses them")
        lines += [f"  {problem}" for problem in report.problems]
        if report.num_bad > len(report.problems):
            lines.append(f"  and {report.num_bad - len(report.problems):,} more")
    if report.example is None:
        return "\n".join([*lines, "nothing here can be used", ""])
    segments = mark_example(report.example, tokenizer)
    lines += ["", f"one example; {_LEARNED[report.kind]}", ""]
    lines.append("".join(_marked(segment) for segment in segments))
    if tokenizer is not None:
        num_tokens = sum(segment.num_tokens for segment in segments)
        num_learned = sum(segment.num_tokens for segment in segments if segment.is_learned)
        lines += ["", f"tokens: {num_tokens:,}; in marks: {num_learned:,}"]
    return "\n".join([*lines, ""])


def mark_example(example: Example, tokenizer: Tokenizer | None = None) -> list[Segment]:
    """An example cut where its loss mask changes, in the chat layout if there is a tokenizer."""
    match example:
        case str():
            num_tokens = 0 if tokenizer is None else len(tokenizer.encode(example))
            return [Segment(example, True, num_tokens)]
        case Prompt():
            if tokenizer is None:
                return _by_role(example.messages)
            ids = encode_prompt(tokenizer, example.messages)
            return _by_mask(tokenizer, ids, [False] * len(ids))
        case Dialog():
            return _mark_dialog(example, tokenizer, last_answer_only=False)
        case Preference():
            sides = [("chosen", example.chosen), ("rejected", example.rejected)]
            segments: list[Segment] = []
            for name, answer in sides:
                dialog = Dialog((*example.prompt, Message("assistant", answer)))
                segments.append(Segment(f"{name}:\n", False))
                segments += _mark_dialog(dialog, tokenizer, last_answer_only=True)
                segments.append(Segment("\n", False))
            return segments


def _mark_dialog(
    dialog: Dialog, tokenizer: Tokenizer | None, last_answer_only: bool
) -> list[Segment]:
    if tokenizer is None:
        return _by_role(dialog.messages, last_answer_only)
    encoded = encode_dialog(tokenizer, dialog, last_answer_only=last_answer_only)
    return _by_mask(tokenizer, encoded.ids, encoded.loss_mask)


def _by_role(messages: Sequence[Message], last_answer_only: bool = False) -> list[Segment]:
    segments: list[Segment] = []
    for position, message in enumerate(messages):
        is_last = position == len(messages) - 1
        is_learned = message.role == "assistant" and (is_last or not last_answer_only)
        break_before = "\n" if position else ""
        segments.append(Segment(f"{break_before}{message.role}: ", False))
        segments.append(Segment(message.content.strip(), is_learned))
    return segments


def _by_mask(tokenizer: Tokenizer, ids: Sequence[int], mask: Sequence[bool]) -> list[Segment]:
    """Decode the stretches of equal mask; control ids, which decoding leaves out, are written."""
    segments: list[Segment] = []
    start = 0
    for end in range(1, len(ids) + 1):
        if end == len(ids) or mask[end] != mask[start]:
            text = _decode(tokenizer, ids[start:end], before=ids[start - 1 : start])
            segments.append(Segment(text, mask[start], end - start))
            start = end
    return segments


def _decode(tokenizer: Tokenizer, ids: Sequence[int], before: Sequence[int]) -> str:
    """The text of ids that follow others: decoding alone would lose the space they start with."""
    names = tokenizer.control
    text = ""
    run = list(before)
    shown = tokenizer.decode(run)
    for token in ids:
        if token in names:
            text += tokenizer.decode(run).removeprefix(shown) + names[token]
            run, shown = [], ""
        else:
            run.append(token)
    return text + tokenizer.decode(run).removeprefix(shown)


def _marked(segment: Segment) -> str:
    text = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", segment.text)
    if len(text) > _MAX_SHOWN:
        left_out = len(text) - _MAX_SHOWN
        half = _MAX_SHOWN // 2
        text = f"{text[:half]} [... {left_out:,} characters ...] {text[-half:]}"
    return f"{OPEN_MARK}{text}{CLOSE_MARK}" if segment.is_learned else text


def _kind_of(path: Path, found: Format) -> Kind:
    """What a format is read as; messages and transcripts are told apart by their first row."""
    match found:
        case "text" | "plain":
            return "documents"
        case "prompt":
            return "prompts"
        case "messages":
            turns = _first_value(path)["messages"]
            last = turns[-1] if isinstance(turns, list) and turns else None
            is_open = isinstance(last, dict) and last.get("role") in ("user", "human")
            return "prompts" if is_open else "dialogs"
        case _:
            is_pair = holds_preferences(found, _first_value(path))
            return "preferences" if is_pair else "dialogs"


def _first_value(path: Path) -> dict[str, object]:
    rows = (row for file in files.files_of(path) for row in read_rows(file))
    return next(row.value for row in rows if isinstance(row, Row))


def _items(path: Path, kind: Kind, counts: Counter[str]) -> Iterator[Example | Bad | Skip]:
    seen: set[str] = set()
    for file in files.files_of(path):
        rows = _counted(read_rows(file), counts)
        match kind:
            case "documents" if container_of(file) in ("plain", "transcript"):
                for document in documents_of(file):
                    counts["rows"] += 1
                    yield document
            case "documents":
                yield from convert(rows, to_document)
            case "dialogs":
                yield from convert(rows, to_dialogs)
            case "preferences":
                yield from convert(rows, to_preferences)
            case "prompts":
                yield from convert(rows, partial(to_prompts, track="helpfulness", seen=seen))


def _counted(rows: Iterable[Row | Bad | Skip], counts: Counter[str]) -> Iterator[Row | Bad | Skip]:
    for row in rows:
        counts["rows"] += not isinstance(row, Skip)
        yield row


def _num_pairs(path: Path) -> int:
    rows = (row for file in files.files_of(path) for row in read_rows(file))
    trees = (row for row in rows if isinstance(row, Row) and recognize(row.value) == "oasst")
    return sum(isinstance(item, Preference) for item in convert(trees, to_preferences))
