"""The corpus in tokens: the token folders that a folder holds, or files that are tokenised first.

A built corpus keeps its tokens under `tokens/`, one folder a source, with `documents.jsonl.zst`
beside them: a line for each document, in order, with its id.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import zstandard

from arriero.corpus.contamination.parts import FACTS, Say, TokenFolder, open_token_folder
from arriero.corpus.contamination.texts import text_of_row
from arriero.corpus.reading import BUILD
from arriero.corpus.reading import DOCUMENTS as KEPT
from arriero.data.documents import documents_of
from arriero.data.files import files_of, given_paths, is_hub, stem_of
from arriero.data.rows import Bad, Row, Skip, container_of, read_rows
from arriero.records import UserError
from arriero.tokenizer.tokenizer import Tokenizer

DOCUMENTS = "documents.jsonl.zst"
_MADE_OF = "source.json"
_AT_ONCE = 2_000


def token_folders(corpus: Path) -> list[TokenFolder]:
    """The token folders under `tokens/` of a folder, or else anywhere in it, by name; maybe none.

    Raises:
        UserError: one is damaged.
    """
    if not corpus.is_dir():
        return []
    for root in (corpus / "tokens", corpus):
        found = sorted(path.parent for path in root.rglob(FACTS))
        if found:
            return [
                open_token_folder(
                    path, corpus.name if path == root else path.relative_to(root).as_posix()
                )
                for path in found
            ]
    return []


def tokenised(
    corpus: Path, tokenizer: Tokenizer, fields: Sequence[str], work: Path, say: Say
) -> list[TokenFolder]:
    """Tokenise the files of a corpus into `work`, one token folder each; what stands there stays.

    Of a built corpus, which may have been built without tokens, the documents that stayed are meant
    and nothing else that lies in its folder.

    Args:
        fields: what of a row is its text; none to find it (`text_of_row`).

    Raises:
        UserError: there is no text, or a row is wrong.
    """
    folders: list[TokenFolder] = []
    is_built = (corpus / BUILD).is_file()
    for path in given_paths(corpus / KEPT if is_built else corpus):
        for number, file in enumerate(files_of(path)):
            stem = stem_of(file).rpartition("/")[2]
            folder = work / f"{number:05}-{_safe(stem)}"
            inside = path.is_dir() and not is_hub(path)
            name = file.relative_to(path).as_posix() if inside else file.name
            if _tokenise(file, name, tokenizer, fields, folder, say):
                folders.append(open_token_folder(folder, name))
    if not folders:
        raise UserError(f"{corpus} holds no text; name a corpus, tokens or files of text")
    return folders


def tokenizer_of(corpus: Path) -> Path:
    """The tokenizer that a built corpus names: in its folder, or in its recipe.

    Raises:
        UserError: it names none.
    """
    # The second is where a build keeps it, trained there or copied.
    for folder in (corpus / "tokenizer", corpus / "08-tokenizer" / "model"):
        if folder.is_dir():
            return folder
    try:
        recipe = tomllib.loads((corpus / "recipe.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        recipe = {}
    if isinstance(named := recipe.get("tokenizer"), str) and named:
        return Path(named)
    raise UserError(f"{corpus} names no tokenizer; name its own with --tokenizer")


def document_ids(folder: TokenFolder, documents: Iterable[int]) -> dict[int, str]:
    """The ids of some documents of a folder; the number where there is no list of them."""
    wanted = set(documents)
    path = folder.path / DOCUMENTS
    if not wanted or not path.is_file():
        return {document: str(document) for document in wanted}
    ids: dict[int, str] = {}
    try:
        with path.open("rb") as file:
            stream = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
            lines = io.TextIOWrapper(stream, encoding="utf-8")
            for document, line in enumerate(islice(lines, max(wanted) + 1)):
                if document in wanted:
                    ids[document] = str(json.loads(line)["id"])
    except (zstandard.ZstdError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} cannot be read ({error}); write the tokens again") from error
    if missing := wanted - ids.keys():
        raise UserError(f"{path} ends before document {min(missing)}; write the tokens again")
    return ids


def _tokenise(
    file: Path, name: str, tokenizer: Tokenizer, fields: Sequence[str], folder: Path, say: Say
) -> bool:
    """Whether the file has text; its tokens then stand in the folder."""
    from arriero.data.shards import flaw, write_tokens  # imports torch

    made_of = {
        "name": name,
        "file": str(file) if is_hub(file) else _hash(file),
        "tokenizer": tokenizer.fingerprint,
        "fields": list(fields),
    }
    facts = folder / _MADE_OF
    if facts.is_file():
        try:
            stands = json.loads(facts.read_text(encoding="utf-8")) == made_of
        except ValueError:
            stands = False
        problem = flaw(folder) if stands else "made of other text or by another tokenizer"
        if not problem:
            return True
        say(f"{folder}: {problem}; tokenising {file} again")
    named = _documents(file, name, fields)
    first = next(named, None)
    if first is None:
        say(f"{file}: no text")
        return False
    folder.mkdir(parents=True, exist_ok=True)
    facts.unlink(missing_ok=True)
    draft = folder / f".{DOCUMENTS}.{os.getpid()}"
    try:
        with zstandard.open(draft, "wt", encoding="utf-8") as listed:
            ids = _listed(_ids([first], named, tokenizer), listed)
            num = write_tokens(ids, tokenizer.vocab_size, folder)
        draft.replace(folder / DOCUMENTS)
        draft.write_text(json.dumps(made_of) + "\n", encoding="utf-8")
        draft.replace(facts)
    finally:
        draft.unlink(missing_ok=True)
    say(f"{file}: {num:,} tokens of text")
    return True


def _ids(
    first: list[tuple[str, str]], named: Iterator[tuple[str, str]], tokenizer: Tokenizer
) -> Iterator[tuple[str, list[int]]]:
    """(id, tokens) of each document, as `arriero.data.shards.write_shard` writes them."""
    chunk = first
    while chunk:
        rows = tokenizer.encode_batch([text for _, text in chunk])
        for (name, _), row in zip(chunk, rows, strict=True):
            yield name, [tokenizer.start_id, *row, tokenizer.eos_id]
        chunk = list(islice(named, _AT_ONCE))


def _listed(documents: Iterable[tuple[str, list[int]]], file: Any) -> Iterator[list[int]]:
    for name, ids in documents:
        file.write(json.dumps({"id": name, "tokens": len(ids)}) + "\n")
        yield ids


def _documents(file: Path, name: str, fields: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(id, text) of a file's documents: `name:line` of rows, `name#number` of pieces of prose."""
    if container_of(file) in ("plain", "transcript"):
        for number, piece in enumerate(documents_of(file), 1):
            if isinstance(piece, Bad):
                raise UserError(f"{piece.where}: {piece.problem}")
            if isinstance(piece, str) and piece.strip():
                yield f"{name}#{number}", piece
        return
    for row in read_rows(file):
        if isinstance(row, Bad):
            raise UserError(f"{row.where}: {row.problem}")
        if isinstance(row, Skip):
            continue
        assert isinstance(row, Row)
        try:
            text = text_of_row(row.value, fields, "--corpus-fields")
        except ValueError as error:
            raise UserError(f"{row.where}: {error}") from None
        if text.strip():
            yield f"{name}:{row.line}", text


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _safe(name: str) -> str:
    return "".join(sign if sign.isalnum() or sign in "-_" else "-" for sign in name)[:60]
