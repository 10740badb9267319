"""The text of a tokenizer.json, taken apart as far as this package needs it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any, cast

import tokenizers

from arriero.records import UserError

_MODELS = ("BPE", "Unigram", "WordLevel", "WordPiece")
_DEFINING = ("model", "added_tokens", "normalizer", "pre_tokenizer", "decoder")


@dataclass(frozen=True, slots=True)
class JsonSource:
    """A tokenizer.json.

    Attributes:
        where: its path, for errors.
        text, data: its content.
        added: whether each added token is a special one, by literal.
        ids: ids of the added tokens, by literal.
    """

    where: str
    text: str
    data: dict[str, Any]
    added: Mapping[str, bool]
    ids: Mapping[str, int]

    @property
    def vocab_size(self) -> int:
        """One more than the largest id."""
        vocab = self.data["model"].get("vocab")
        if isinstance(vocab, dict):
            largest = max(cast(dict[str, int], vocab).values(), default=-1)
        else:
            largest = len(cast(list[object], vocab)) - 1
        return 1 + max(largest, *self.ids.values(), -1)

    def literals(self, ids: Set[int]) -> dict[int, str]:
        """How some ids are written; those without a token are left out."""
        found = {token: literal for literal, token in self.ids.items() if token in ids}
        vocab = self.data["model"].get("vocab")
        if isinstance(vocab, dict) and len(found) < len(ids):
            pairs = cast(dict[str, int], vocab).items()
            found = {token: literal for literal, token in pairs if token in ids} | found
        return found

    @property
    def unknown(self) -> str | None:
        """The piece for what the vocabulary lacks."""
        token = self.data["model"].get("unk_token")
        return token if isinstance(token, str) else None

    @property
    def is_byte_level(self) -> bool:
        """Whether pieces are written in an alphabet of 256 signs, one for each byte."""
        return '"ByteLevel"' in json.dumps(self.data.get("decoder"))

    def defining(self) -> dict[str, Any]:
        """All that ids and texts follow from; not how rows are padded, cut or opened."""
        return {name: self.data.get(name) for name in _DEFINING}

    def backend(self, control: Set[str]) -> tokenizers.Tokenizer:
        """The tokenizer itself, with the control tokens as special ones, unpadded and uncut.

        Raises:
            UserError: the library cannot make a tokenizer of the file.
        """
        vocab = self.data["model"].get("vocab")
        ordinary = cast(dict[str, int], vocab) if isinstance(vocab, dict) else {}
        entries = cast(list[dict[str, Any]], self.data.get("added_tokens") or [])
        changed = [each | {"special": each["content"] in control} for each in entries]
        changed += [
            _added_token(literal, ordinary[literal])
            for literal in sorted(control)
            if literal in ordinary and literal not in self.added
        ]
        text = self.text
        if changed != entries:
            text = json.dumps(self.data | {"added_tokens": changed})
        try:
            made = tokenizers.Tokenizer.from_str(text)
        except BaseException as error:
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
            # The library raises plain Exceptions, and where it panics not even these.
            raise _unusable(self.where, " ".join(str(error).split())[:200]) from None
        made.no_truncation()
        made.no_padding()
        return made


def read_source(text: str, where: str) -> JsonSource:
    """Take a tokenizer.json apart.

    Raises:
        UserError: it is not JSON, or not of the tokenizers library's form.
    """
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{where}: not valid JSON ({error.msg}, line {error.lineno})") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not valid JSON ({error})") from None
    model = cast(dict[str, Any], data).get("model") if isinstance(data, dict) else None
    if not isinstance(model, dict):
        raise _unusable(where, "it names no model")
    kind = cast(dict[str, Any], model).get("type")
    if kind not in (None, *_MODELS):
        raise _unusable(where, f"its model is of the unknown type {kind!r}")
    vocab = cast(dict[str, Any], model).get("vocab")
    if isinstance(vocab, dict):
        if not all(isinstance(token, int) for token in cast(dict[str, object], vocab).values()):
            raise _unusable(where, "an id of its vocabulary is not a number")
    elif not isinstance(vocab, list):
        raise _unusable(where, "its model has no vocabulary")
    added: dict[str, bool] = {}
    ids: dict[str, int] = {}
    try:
        for each in cast(list[dict[str, Any]], cast(Any, data).get("added_tokens") or []):
            added[str(each["content"])] = bool(each.get("special"))
            ids[str(each["content"])] = int(each["id"])
    except (AttributeError, KeyError, TypeError, ValueError):
        raise _unusable(where, "an added token lacks its id or content") from None
    return JsonSource(where, text, cast(dict[str, Any], data), added, ids)


def _added_token(literal: str, token: int) -> dict[str, Any]:
    """As transformers adds a token that is named as special but stands in the vocabulary alone."""
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": token, "content": literal, **flags, "special": True}


def _unusable(where: str, reason: str) -> UserError:
    return UserError(f"{where}: not a tokenizer of the tokenizers library ({reason})")
