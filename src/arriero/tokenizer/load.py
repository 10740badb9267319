"""Opening a model folder's tokenizer, whichever kind it is.

A folder may have both files. `tokenizer.model` (SentencePiece) is read where it is all there is to
know: the special ids of Llama 2, no further tokens, and the Llama 2 layout, be the template ours,
absent, or another that writes the same. Everything else is read from `tokenizer.json`, or from one
that is made of `tokenizer.model` and the further tokens.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import tokenizers
from sentencepiece import SentencePieceProcessor

from arriero.records import Message, UserError
from arriero.tokenizer.folder_files import (
    TOKENIZER_FILE,
    FolderFiles,
    content_of,
    read_folder_files,
    read_object,
)
from arriero.tokenizer.huggingface import fast_tokenizer
from arriero.tokenizer.json_source import read_source
from arriero.tokenizer.json_tokenizer import JsonTokenizer
from arriero.tokenizer.rendering import renderer
from arriero.tokenizer.sentence_piece import (
    MODEL_FILE,
    SentencePieceTokenizer,
    is_bpe,
    is_llama2_vocabulary,
    read_model,
)
from arriero.tokenizer.template import CHAT_TEMPLATE, render_turns
from arriero.tokenizer.tokenizer import Tokenizer

_PLAIN = {"<unk>", "<s>", "</s>"}
_TIKTOKEN = re.compile(rb"\A[A-Za-z0-9+/]+=* \d+\s")


def load_tokenizer(path: Path | str) -> Tokenizer:
    """Open a model folder, a tokenizer.json or a tokenizer.model.

    A tokenizer.model named as a file stands for itself, with the Llama 2 layout; a tokenizer.json
    is read with the files beside it.

    Raises:
        UserError: there is no tokenizer, it or a file beside it is damaged, its special tokens or
            its chat template cannot be used, or it has more tokens than the model beside it.
    """
    path = Path(path)
    if path.is_file() and path.name == TOKENIZER_FILE:
        files = read_folder_files(path.parent)
        return _checked(_from_json(path, files), files)
    if path.is_file() or not path.is_dir():
        if not path.is_file():
            raise UserError(f"no tokenizer at {path}: name a model folder or a tokenizer file")
        return _from_model(path, read_model(path))
    model, json_file = path / MODEL_FILE, path / TOKENIZER_FILE
    files = read_folder_files(path)
    if not model.is_file() or _is_tiktoken(model, json_file):
        if not json_file.is_file():
            raise UserError(f"no tokenizer at {model} or {json_file}: name a model folder")
        return _checked(_from_json(json_file, files), files)
    processor = read_model(model)
    further = _further_tokens(path, files, processor.vocab_size())
    is_plain = is_llama2_vocabulary(processor) and not further and set(files.extra) <= _PLAIN
    if is_plain and _writes_llama2(files):
        return _checked(_from_model(model, processor), files)
    files = replace(files, kept={MODEL_FILE: model.read_bytes()})
    if json_file.is_file():
        return _checked(_from_json(json_file, files), files)
    if not is_bpe(processor):
        raise UserError(f"{model}: this kind of model needs its {TOKENIZER_FILE} beside it")
    _from_model(model, processor)
    return _checked(JsonTokenizer(_converted(processor, further), _llama2_named(files)), files)


def _from_json(file: Path, files: FolderFiles) -> JsonTokenizer:
    return JsonTokenizer(_read_text(file), files)


def _read_text(file: Path) -> str:
    """The text of a file, newlines as they are."""
    try:
        return file.read_bytes().decode()
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: cannot be read as text ({error})") from None


def _from_model(file: Path, processor: SentencePieceProcessor) -> SentencePieceTokenizer:
    if not is_llama2_vocabulary(processor):
        ids = processor.unk_id(), processor.bos_id(), processor.eos_id()
        raise UserError(
            f"{file} has unk, BOS, EOS at {ids} or further symbols before its bytes; Llama 2 has "
            f"(0, 1, 2) and none, others need their {TOKENIZER_FILE} beside it"
        )
    return SentencePieceTokenizer(processor)


def _checked(tokenizer: Tokenizer, files: FolderFiles) -> Tokenizer:
    """The tokenizer, if the model beside it has a row for each of its tokens."""
    num_rows = files.model_vocab_size
    if num_rows is not None and tokenizer.vocab_size > num_rows:
        raise UserError(
            f"{files.where}: the tokenizer has {tokenizer.vocab_size} tokens, "
            f"the model {num_rows}; they do not belong together"
        )
    return tokenizer


def _is_tiktoken(model: Path, json_file: Path) -> bool:
    """Whether tokenizer.model is of another format, in which Meta ships Llama 3."""
    with model.open("rb") as file:
        if _TIKTOKEN.match(file.read(200)) is None:
            return False
    if not json_file.is_file():
        raise UserError(f"{model} is a tiktoken file: put the model's {TOKENIZER_FILE} beside it")
    return True


def _further_tokens(folder: Path, files: FolderFiles, vocab_size: int) -> dict[int, dict[str, Any]]:
    """Tokens beyond tokenizer.model that the model has rows for, with the flags they come with."""
    special = {*files.named.values(), *files.extra}
    rows: list[tuple[object, dict[str, Any]]] = []
    added, json_file = folder / "added_tokens.json", folder / TOKENIZER_FILE
    if json_file.is_file():
        source = read_source(_read_text(json_file), str(json_file))
        for literal, token in source.ids.items():
            rows.append((token, {"content": literal, "special": source.added[literal]}))
    if added.is_file():
        for literal, token in read_object(added).items():
            rows.append((token, {"content": literal, "special": literal in special}))
    listed = files.config.get("added_tokens_decoder")
    if isinstance(listed, dict):
        for token, flags in cast(dict[str, object], listed).items():
            if isinstance(flags, dict):
                given = cast(dict[str, Any], flags)
                rows.append((token, given | {"content": content_of(given)}))
    found: dict[int, dict[str, Any]] = {}
    for token, flags in rows:
        try:
            found[int(cast(str, token))] = flags
        except (TypeError, ValueError):
            raise UserError(f"{folder}: an added token has the id {token!r}, no number") from None
    end = files.model_vocab_size or max(found, default=0) + 1
    return {
        token: flags
        for token, flags in found.items()
        if vocab_size <= token < end and flags["content"]
    }


def _writes_llama2(files: FolderFiles) -> bool:
    """Whether the folder's template, if it has one, writes what the Llama 2 layout is."""
    if files.template in (None, CHAT_TEMPLATE):
        return True
    user, answer = Message("user", "\n Why? "), Message("assistant", " So. \n")
    system = Message("system", "Be brief.\n")
    theirs = renderer(files.template, (("bos_token", "<s>"), ("eos_token", "</s>")))
    for messages in (
        [user],
        [user, answer],
        [system, user],
        [system, user, answer, user],
        [user, answer, user, answer, user],
    ):
        marks = ("<s>{}", " {}</s>")
        turns = render_turns(messages)
        expected = "".join(marks[i % 2].format(turn) for i, turn in enumerate(turns))
        try:
            (given,) = theirs.render(
                files.where, [messages], add_generation_prompt=len(turns) % 2 == 1
            )
        except UserError:
            return False
        if given != expected:
            return False
    return True


def _converted(processor: SentencePieceProcessor, further: dict[int, dict[str, Any]]) -> str:
    """A tokenizer.json of a SentencePiece model and further tokens."""
    made = fast_tokenizer(processor)
    for token in sorted(further):
        flags = further[token]
        added = tokenizers.AddedToken(
            flags["content"],
            normalized=bool(flags.get("normalized", False)),
            special=bool(flags.get("special", False)),
            lstrip=bool(flags.get("lstrip", False)),
            rstrip=bool(flags.get("rstrip", False)),
            single_word=bool(flags.get("single_word", False)),
        )
        made.add_tokens([added])  # pyright: ignore[reportUnknownMemberType]
    return made.to_str()


def _llama2_named(files: FolderFiles) -> FolderFiles:
    """The names of Llama 2's tokens, where the folder gives none."""
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return replace(files, named=names | files.named)
