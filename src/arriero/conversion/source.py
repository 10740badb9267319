"""A model on disk in either layout, with the tokenizer that belongs to it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from arriero.model.weights import Checkpoint, is_meta, open_hugging_face, open_meta
from arriero.model.weights.hugging_face_config import CONFIG, special_from_hugging_face
from arriero.records import LLAMA2_IDS, SpecialIds, UserError
from arriero.tokenizer import Tokenizer, load_tokenizer

Layout = Literal["hugging-face", "meta"]

TOKENIZER_FILES = (
    "tokenizer.model",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "vocab.json",
    "merges.txt",
)


@dataclass(frozen=True)
class Source:
    """A model that is opened and checked, its weights not read yet.

    Attributes:
        folder: where it is.
        layout: whose.
        checkpoint: shape and weights.
        special: the ids that no text may produce.
        tokenizer: of the model; None where the folder has none.
        tokenizer_files: those that go along.
    """

    folder: Path
    layout: Layout
    checkpoint: Checkpoint
    special: SpecialIds
    tokenizer: Tokenizer | None
    tokenizer_files: list[Path]


def open_source(folder: Path, context: int | None = None) -> Source:
    """Open a model folder.

    Args:
        folder: in Hugging Face's layout or in Meta's; it shows by config.json or params.json.
        context: longest sequence in tokens, for Meta's layout, which does not name it.

    Raises:
        UserError: no model there, a damaged or foreign one, a tokenizer that does not fit it.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such model folder")
    layout: Layout = "hugging-face"
    if is_meta(folder) and not (folder / CONFIG).is_file():
        layout = "meta"
        checkpoint = open_meta(folder, context)
    elif context is not None:
        raise UserError(f"--context is for Meta's layout; {folder / CONFIG} names the context")
    else:
        checkpoint = open_hugging_face(folder)
    files = tokenizer_files(folder, layout)
    tokenizer = load_tokenizer(files[0].parent) if files else None
    if tokenizer is not None:
        check_vocabulary(folder, checkpoint.config.vocab_size, tokenizer.vocab_size)
    special = special_from_hugging_face(folder) if layout == "hugging-face" else None
    if special is None:
        special = tokenizer.special if tokenizer is not None else LLAMA2_IDS
    return Source(folder, layout, checkpoint, special, tokenizer, files)


def tokenizer_files(folder: Path, layout: Layout) -> list[Path]:
    """What belongs to the tokenizer; Meta's downloads have it in the folder around the model's."""
    places = [folder, folder.absolute().parent] if layout == "meta" else [folder]
    for place in places:
        found = [place / name for name in TOKENIZER_FILES if (place / name).is_file()]
        if found:
            return found
    return []


def check_vocabulary(folder: Path, num_rows: int, num_tokens: int) -> None:
    """Refuse a tokenizer that cannot be the model's.

    The embedding has a row for every token. It may have some more, since many are padded to a
    round number: up to a twentieth, or to the next multiple of 128.
    """
    padded = -(-num_tokens // 128) * 128
    if num_tokens <= num_rows <= max(padded, num_tokens + num_tokens // 20):
        return
    raise UserError(
        f"{folder}: the tokenizer has {num_tokens} tokens, the model's vocabulary {num_rows}; "
        "they do not belong together"
    )


def tokenizer_code(folder: Path) -> str | None:
    """The key with which a tokenizer asks for code of its own, if it does."""
    try:
        raw = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return "auto_map" if isinstance(raw, dict) and raw.get("auto_map") else None
