"""Turns files into rows with a position: JSON values, table lines, plain lines, parquet, hub rows.

What holds the rows (JSON lines, a JSON array, a table with tabs, plain text, parquet) is told from
the content; the ending of the name only decides where content could be either. A row that cannot be
read becomes `Bad` and stops nothing here: readers refuse it, `check_data` lists it.
"""

from __future__ import annotations

import importlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from arriero.data import files, oasst
from arriero.data.transcripts import is_transcript
from arriero.records import UserError

Container = Literal["json lines", "json document", "table", "transcript", "plain", "parquet", "hub"]

_JSON_ENDING = re.compile(r"\.(json|jsonl|ndjson)(\.\w+)?$")
_TABLE_ENDING = re.compile(r"\.tsv(\.\w+)?$")
_PROSE_ENDING = re.compile(r"\.(md|rst)(\.\w+)?$")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_NUM_SAMPLE_LINES = 20

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Row:
    """One value as it lay in a file: a JSON value, or a line of plain text as a string."""

    value: Any
    file: Path
    line: int

    @property
    def where(self) -> str:
        """`file:line`; in parquet and hub sets the number of the row."""
        return f"{self.file}:{self.line}"

    @property
    def source(self) -> str:
        """The source that the row names, or else a short name of its file."""
        named = self.value.get("source") if isinstance(self.value, dict) else None
        return named if isinstance(named, str) else files.stem_of(self.file)


@dataclass(frozen=True, slots=True)
class Bad:
    """A row that is wrong: where, and what to do about it."""

    where: str
    problem: str


@dataclass(frozen=True, slots=True)
class Skip:
    """A row that is right but of no use, why, and where it stands (`convert` fills that in)."""

    reason: str
    num: int = 1
    where: str = ""


def container_of(path: Path) -> Container:
    """How the rows of one file are held.

    Raises:
        UserError: the file cannot be read or is no text.
    """
    if files.is_hub(path):
        return "hub"
    if files.is_parquet(path):
        return "parquet"
    head = files.read_head(path)
    text = head.decode("utf-8", errors="replace")
    lines = [line.strip("\r") for line in text.split("\n") if line.strip()][:_NUM_SAMPLE_LINES]
    if not lines:
        return "plain"
    if (json_container := _json_container(path.name, lines)) is not None:
        return json_container
    if _is_table(path.name, lines):
        return "table"
    return "transcript" if is_transcript(text) and "Human:" in lines[0] else "plain"


def read_rows(path: Path) -> Iterator[Row | Bad | Skip]:
    """Yield the rows of one file, or of a hub data set; flat tree messages come back as trees.

    Raises:
        UserError: the file cannot be read, or an optional package is missing.
    """
    rows = _read_container(path, container_of(path))
    flat: list[Row] = []
    for row in rows:
        if isinstance(row, Row) and oasst.is_message(row.value):
            flat.append(row)
        else:
            yield row
    if flat:
        yield from _linked(flat)


def convert(
    rows: Iterable[Row | Bad | Skip], to_items: Callable[[Row], Iterable[Item | Skip]]
) -> Iterator[Item | Bad | Skip]:
    """Yield what becomes of each row; a ValueError of `to_items` becomes `Bad`."""
    return (item for _, item in placed(rows, to_items))


def placed(
    rows: Iterable[Row | Bad | Skip], to_items: Callable[[Row], Iterable[Item | Skip]]
) -> Iterator[tuple[Row | None, Item | Bad | Skip]]:
    """Like `convert`, each item beside its row; beside None what never was a row."""
    for row in rows:
        if not isinstance(row, Row):
            yield None, row
            continue
        try:
            items = list(to_items(row))
        except ValueError as error:
            yield row, Bad(row.where, str(error))
        else:
            for item in items:
                is_skip = isinstance(item, Skip)
                yield row, replace(item, where=row.where) if is_skip else item


def require(
    paths: list[Path],
    read: Callable[[Path], Iterable[Item | Bad | Skip]],
    what: str,
    skipped: Counter[str] | None,
) -> Iterator[Item]:
    """Yield the items of all paths; every path has to bring at least one.

    Args:
        paths: files, folders or hub ids that exist.
        read: turns one file into items.
        what: the items' name in messages, such as "dialogs".
        skipped: counts, by reason, the rows that were of no use.

    Raises:
        UserError: a bad row, named by file and line, or a path without any item.
    """
    for path in paths:
        num_items = 0
        reasons: Counter[str] = Counter()
        for file in files.files_of(path):
            for item in read(file):
                if isinstance(item, Bad):
                    raise UserError(f"{item.where}: {item.problem}")
                if isinstance(item, Skip):
                    reasons[item.reason] += item.num
                    if skipped is not None:
                        skipped[item.reason] += item.num
                else:
                    num_items += 1
                    yield item
        if num_items == 0:
            raise UserError(f"{path} holds no {what}{_why(reasons)}")


def _why(reasons: Counter[str]) -> str:
    if not reasons:
        return ": it is empty; name another file"
    listed = ", ".join(f"{reason} ({num})" for reason, num in reasons.most_common())
    return f" that can be used: {listed}"


def _json_container(name: str, lines: list[str]) -> Container | None:
    first = lines[0].strip()
    by_name = _JSON_ENDING.search(name)
    if first.startswith("[") and (by_name or re.match(r'\[\s*(["{]|$)', first)):
        return "json document"
    if first == "{":
        return "json document"
    value = _parse(first)
    if by_name:
        is_document = value is None and by_name[1] == "json"
        return "json document" if is_document else "json lines"
    if isinstance(value, dict) or first.startswith('{"'):
        return "json lines"
    are_strings = all(isinstance(_parse(line), str) for line in lines[:-1] or lines)
    return "json lines" if are_strings and not _PROSE_ENDING.search(name) else None


def _parse(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _is_table(name: str, lines: list[str]) -> bool:
    if _TABLE_ENDING.search(name):
        return True
    num_tabs = {line.count("\t") for line in lines}
    return num_tabs in ({1}, {2}) and len(lines) > 1 and not _PROSE_ENDING.search(name)


def _read_container(path: Path, container: Container) -> Iterator[Row | Bad]:
    match container:
        case "json lines":
            return _read_json_lines(path)
        case "json document":
            return _read_json_document(path)
        case "table":
            return _read_table(path)
        case "transcript":
            return _read_transcript(path)
        case "plain":
            return _read_plain(path)
        case "parquet":
            return _read_parquet(path)
        case "hub":
            return _read_hub(path)


def _read_json_lines(path: Path) -> Iterator[Row | Bad]:
    for number, line in files.read_lines(path):
        if not line.strip():
            continue
        try:
            value = json.loads(line.decode("utf-8"))
            if _SURROGATE.search(line) and not _is_whole_text(value):
                yield Bad(f"{path}:{number}", "half of a \\uD800 pair; mend or remove the line")
                continue
        except UnicodeDecodeError as error:
            yield Bad(f"{path}:{number}", files.not_utf8(error))
        except json.JSONDecodeError as error:
            problem = f"no valid JSON ({error.msg} at column {error.colno})"
            yield Bad(f"{path}:{number}", f"{problem}; mend or remove the line")
        except RecursionError:
            yield Bad(f"{path}:{number}", "nested too deeply; remove the line")
        except ValueError as error:  # a number of thousands of digits
            yield Bad(f"{path}:{number}", f"{_reason(error)}; remove the line")
        else:
            yield Row(value, path, number)


def _read_json_document(path: Path) -> Iterator[Row | Bad]:
    """One value a file: the elements of an array are the rows, another value is the only row."""
    text = "\n".join(line for _, line in files.read_text_lines(path))
    try:
        for value, line in _elements(text):
            if _is_whole_text(value):
                yield Row(value, path, line)
            else:
                yield Bad(f"{path}:{line}", "half of a \\uD800 pair; mend or remove the row")
    except json.JSONDecodeError as error:
        problem = f"no valid JSON ({error.msg} at column {error.colno}); mend the file"
        yield Bad(f"{path}:{error.lineno}", problem)
    except RecursionError:
        yield Bad(f"{path}:1", "nested too deeply; mend the file")
    except ValueError as error:
        yield Bad(f"{path}:1", f"{_reason(error)}; mend the file")


def _is_whole_text(value: Any) -> bool:
    """Whether all text of a value can be written as UTF-8."""
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _reason(error: ValueError) -> str:
    return str(error).partition(";")[0]


def _elements(text: str) -> Iterator[tuple[Any, int]]:
    """Yield (value, line) of a JSON array's elements, or of the only value."""
    decoder = json.JSONDecoder()
    position = _skip_space(text, 0)
    line = 1 + text.count("\n", 0, position)
    if not text.startswith("[", position):
        yield json.loads(text), line
        return
    counted, position = position, _skip_space(text, position + 1)
    while not text.startswith("]", position):
        line, counted = line + text.count("\n", counted, position), position
        value, position = decoder.raw_decode(text, position)
        yield value, line
        position = _skip_space(text, position)
        if text.startswith(",", position):
            position = _skip_space(text, position + 1)
        elif not text.startswith("]", position):
            raise json.JSONDecodeError("expected a comma or ]", text, position)
    if (rest := _skip_space(text, position + 1)) < len(text):
        raise json.JSONDecodeError("text after the end", text, rest)


def _skip_space(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t\r\n":
        position += 1
    return position


def _read_table(path: Path) -> Iterator[Row | Bad]:
    r"""Lines of question, answer and rationale, parted by tabs; no header; `\n` is a line break."""
    for number, line in files.read_text_lines(path):
        if not line.strip():
            continue
        columns = [column.replace("\\n", "\n").strip() for column in line.split("\t")]
        if len(columns) not in (2, 3):
            problem = f"{len(columns)} columns; a row is question, answer and, if any, rationale"
            yield Bad(f"{path}:{number}", f"{problem}, parted by tabs")
            continue
        names = ("question", "answer", "rationale")
        yield Row(dict(zip(names, columns, strict=False)), path, number)


def _read_transcript(path: Path) -> Iterator[Row]:
    yield Row({"text": "\n".join(line for _, line in files.read_text_lines(path))}, path, 1)


def _read_plain(path: Path) -> Iterator[Row]:
    for number, line in files.read_text_lines(path):
        if line.strip():
            yield Row(line.strip(), path, number)


def _read_parquet(path: Path) -> Iterator[Row]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise files.missing_package(str(path), "pyarrow") from error
    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as table:
            for batch in table.iter_batches(batch_size=1024):
                for value in batch.to_pylist():
                    number += 1
                    yield Row(value, path, number)
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path} is no whole parquet file ({reason}); write it again") from error


def _read_hub(path: Path) -> Iterator[Row]:
    """Rows of a hub data set, of the split `train` and the first configuration unless it says."""
    try:
        # By name: the base must not depend on what an extra brings.
        datasets = importlib.import_module("datasets")
    except ImportError as error:
        raise files.missing_package(str(path), "datasets") from error
    name, configuration, split = hub_parts(path)
    try:
        stream = datasets.load_dataset(name, configuration, split=split, streaming=True)
        for number, value in enumerate(stream, 1):
            yield Row(dict(value), path, number)
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path}: {reason}; check the name and the network") from error


def hub_parts(path: Path) -> tuple[str, str | None, str]:
    """Name, configuration and split of a hub data set.

    >>> hub_parts(Path("hf:nvidia/HelpSteer3/preference:validation"))
    ('nvidia/HelpSteer3', 'preference', 'validation')
    """
    whole, _, split = str(path).removeprefix(files.HUB_PREFIX).partition(":")
    owner, _, rest = whole.partition("/")
    name, _, configuration = rest.partition("/")
    return f"{owner}/{name}" if name else owner, configuration or None, split or "train"


def _linked(flat: list[Row]) -> Iterator[Row | Skip]:
    rows = {row.value["message_id"]: row for row in flat}
    roots, num_orphans = oasst.link_replies([row.value for row in flat])
    for root in roots:
        row = rows[root["message_id"]]
        yield Row(root, row.file, row.line)
    if num_orphans:
        yield Skip("reply to a message that is not there", num_orphans)
