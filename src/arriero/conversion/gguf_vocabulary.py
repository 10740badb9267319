"""A tokenizer as llama.cpp wants it: tokens with their kinds, scores or merges, a name for the cut.

llama.cpp has two tokenizers that matter here. `llama` joins neighbours by the score of the piece
that they form, as SentencePiece does. `gpt2` joins bytes by the order of merges, after a text was
cut into words by rules which llama.cpp knows by name; a cut that it does not know would give other
ids for the same text, so such a tokenizer is refused.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from sentencepiece import SentencePieceProcessor

from arriero.conversion.source import Source
from arriero.model.weights.json_files import read_json
from arriero.records import UserError

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
"""Kinds of tokens, by llama.cpp's numbers."""

_LLAMA3_CUT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2_CUT = _LLAMA3_CUT.replace(r"\p{N}{1,3}", r"\p{N}")

_CUTS: dict[tuple[str, ...], str] = {
    (f"split {_LLAMA3_CUT}", "bytes"): "llama-bpe",
    (f"split {_QWEN2_CUT}", "bytes"): "qwen2",
    ("digits", "words and bytes"): "smollm",
    ("words and bytes",): "gpt-2",
}
"""What a tokenizer does before it merges -> llama.cpp's name for it."""


@dataclass
class GgufVocabulary:
    """What a GGUF file says of a tokenizer.

    Attributes:
        model: which of llama.cpp's tokenizers reads it.
        tokens: the text of every id.
        types: the kind of every id.
        scores: of every id, for `llama`.
        merges: pairs in the order in which they are joined, for `gpt2`.
        pre: llama.cpp's name of the cut into words, for `gpt2`.
        unknown: the id for what has none.
        adds_bos: whether a text begins with BOS.
        adds_space: whether a text gets a space in front, for `llama`.
        chat_template: in Jinja.
    """

    model: Literal["llama", "gpt2"]
    tokens: list[str]
    types: list[int]
    scores: list[float] = field(default_factory=list[float])
    merges: list[str] = field(default_factory=list[str])
    pre: str | None = None
    unknown: int | None = None
    adds_bos: bool = True
    adds_space: bool = True
    chat_template: str | None = None


def gguf_vocabulary(source: Source) -> GgufVocabulary:
    """The vocabulary of a model, a token for every row of its embedding.

    Raises:
        UserError: no tokenizer, or one that llama.cpp cannot have.
    """
    files = {path.name: path for path in source.tokenizer_files}
    processor = _sentencepiece(files.get("tokenizer.model"))
    if processor is not None:
        found = _from_sentencepiece(processor)
    elif "tokenizer.json" in files:
        found = _from_json(files["tokenizer.json"], source.checkpoint.config.vocab_size)
    else:
        raise UserError(f"{source.folder}: no tokenizer that a GGUF file can carry")
    if "tokenizer.json" in files:
        _add_added_tokens(found, read_json(files["tokenizer.json"]))
    if source.tokenizer is not None:
        for i, text in source.tokenizer.control.items():
            _grow(found, i + 1)
            found.tokens[i] = text
            if found.types[i] != UNKNOWN:
                found.types[i] = CONTROL
    _fill(found, source.checkpoint.config.vocab_size)
    found.chat_template = chat_template(files)
    return found


def chat_template(files: dict[str, Path]) -> str | None:
    """The chat template of a tokenizer; of several, the one called default."""
    if "chat_template.jinja" in files:
        return files["chat_template.jinja"].read_text(encoding="utf-8")
    if "tokenizer_config.json" not in files:
        return None
    template: Any = read_json(files["tokenizer_config.json"]).get("chat_template")
    if isinstance(template, list):
        named = cast(list[dict[str, Any]], template)
        template = next((t.get("template") for t in named if t.get("name") == "default"), None)
    return template if isinstance(template, str) else None


def _sentencepiece(path: Path | None) -> SentencePieceProcessor | None:
    """The SentencePiece model; None where tokenizer.model is something else (Llama 3 has such)."""
    if path is None:
        return None
    try:
        return SentencePieceProcessor(model_proto=path.read_bytes())
    except (RuntimeError, OSError):
        return None


def _from_sentencepiece(processor: SentencePieceProcessor) -> GgufVocabulary:
    def kind(i: int) -> int:
        if processor.is_unknown(i):
            return UNKNOWN
        if processor.is_control(i):
            return CONTROL
        if processor.is_unused(i):
            return UNUSED
        return BYTE if processor.is_byte(i) else NORMAL

    ids = range(processor.vocab_size())
    return GgufVocabulary(
        model="llama",
        tokens=[processor.id_to_piece(i) for i in ids],
        types=[kind(i) for i in ids],
        scores=[processor.get_score(i) for i in ids],
        unknown=processor.unk_id(),
        # With a space in front, or SentencePiece would not put one before the first word either.
        adds_space=processor.encode("a", out_type=str)[0].startswith("\u2581"),
    )


def _from_json(path: Path, num_rows: int) -> GgufVocabulary:
    raw = read_json(path)
    model = cast(dict[str, Any], raw.get("model") or {})
    if model.get("type") != "BPE":
        raise UserError(f"{path}: a {model.get('type')} tokenizer; GGUF takes BPE alone")
    vocab = cast(dict[str, int], model.get("vocab") or {})
    if not vocab or max(vocab.values()) >= num_rows:
        raise UserError(f"{path}: its ids do not fit the {num_rows} rows of the embedding")
    tokens = [""] * (max(vocab.values()) + 1)
    types = [UNUSED] * len(tokens)
    for token, i in vocab.items():
        tokens[i], types[i] = token, NORMAL
    merges = [_pair(merge) for merge in model.get("merges") or []]
    if model.get("byte_fallback"):
        return _pieces_by_rank(raw, model, tokens, types, merges)
    steps = _steps(raw.get("pre_tokenizer"))
    pre = _CUTS.get(steps)
    if pre is None or raw.get("normalizer") is not None:
        raise UserError(
            f"{path}: llama.cpp has no name for the way in which this tokenizer cuts a text "
            f"({', '.join(steps) or 'no cut'}); GGUF cannot carry it"
        )
    return GgufVocabulary(
        model="gpt2",
        tokens=tokens,
        types=types,
        merges=[" ".join(merge) for merge in merges],
        pre=pre,
        adds_bos=_adds_bos(raw, path.parent),
    )


def _pieces_by_rank(
    raw: dict[str, Any],
    model: dict[str, Any],
    tokens: list[str],
    types: list[int],
    merges: Sequence[tuple[str, str]],
) -> GgufVocabulary:
    """A SentencePiece model that was saved as merges: a piece's score is the rank of its merge."""
    ranks: dict[str, int] = {}
    for rank, (left, right) in enumerate(merges):
        ranks.setdefault(left + right, rank)
    unknown = model.get("unk_token")
    for i, token in enumerate(tokens):
        if len(token) == 6 and token.startswith("<0x"):
            types[i] = BYTE
        elif token == unknown:
            types[i] = UNKNOWN
    text = json.dumps([raw.get("normalizer"), raw.get("pre_tokenizer")])
    return GgufVocabulary(
        model="llama",
        tokens=tokens,
        types=types,
        scores=[-float(ranks.get(token, len(ranks))) for token in tokens],
        unknown=tokens.index(unknown) if unknown in tokens else None,
        adds_space='"Prepend"' in text or ('"Metaspace"' in text and '"never"' not in text),
    )


def _steps(pre_tokenizer: Any) -> tuple[str, ...]:
    """What a tokenizer does before it merges, in our words."""
    if not isinstance(pre_tokenizer, dict):
        return ()
    step = cast(dict[str, Any], pre_tokenizer)
    match step.get("type"):
        case "Sequence":
            inner = cast(list[Any], step.get("pretokenizers") or [])
            return tuple(name for part in inner for name in _steps(part))
        case "ByteLevel" if not step.get("add_prefix_space"):
            return ("words and bytes" if step.get("use_regex", True) else "bytes",)
        case "Digits" if step.get("individual_digits"):
            return ("digits",)
        case "Split" if step.get("behavior") == "Isolated" and not step.get("invert"):
            return (f"split {cast(dict[str, Any], step.get('pattern') or {}).get('Regex')}",)
        case other:
            return (str(other),)


def _adds_bos(raw: dict[str, Any], folder: Path) -> bool:
    """Whether the tokenizer puts BOS in front of a text: by its last step, or by its settings."""
    config = folder / "tokenizer_config.json"
    if config.is_file() and read_json(config).get("add_bos_token"):
        return True
    last: Any = raw.get("post_processor") or {}
    steps = last.get("processors") or [last]
    return any(
        step.get("type") == "TemplateProcessing"
        and "SpecialToken" in (step.get("single") or [{}])[0]
        for step in steps
    )


def _pair(merge: Any) -> tuple[str, str]:
    left, right = merge.split(" ", 1) if isinstance(merge, str) else merge
    return left, right


def _add_added_tokens(found: GgufVocabulary, raw: dict[str, Any]) -> None:
    """Tokens that were added to a tokenizer; special ones are never read from a text."""
    for token in cast(list[dict[str, Any]], raw.get("added_tokens") or []):
        _grow(found, token["id"] + 1)
        found.tokens[token["id"]] = token["content"]
        if found.types[token["id"]] != UNKNOWN:
            found.types[token["id"]] = CONTROL if token.get("special") else USER_DEFINED


def _fill(found: GgufVocabulary, num_rows: int) -> None:
    """A token for every row of the embedding, and a text of its own for every token."""
    _grow(found, num_rows)
    for i, token in enumerate(found.tokens):
        if not token:
            found.tokens[i] = f"[PAD{i}]"


def _grow(found: GgufVocabulary, length: int) -> None:
    missing = length - len(found.tokens)
    found.tokens += [""] * missing
    found.types += [UNUSED] * missing
    if found.scores:
        found.scores += [-10_000.0] * missing
