"""What a model folder says of its tokenizer: its JSON files, read with care.

A folder is a stranger's. Nothing in it is executed: `auto_map`, by which Hugging Face folders ask
for Python code of their own, is not looked at and is left out of what is written.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from arriero.records import UserError

TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"
NAMES = ("bos_token", "eos_token", "unk_token", "pad_token")

# What the classes of transformers assume where tokenizer_config.json leaves a name out.
_ASSUMED: dict[str, dict[str, str]] = {
    "LlamaTokenizer": {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"},
    "GPT2Tokenizer": dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>"),
}


@dataclass(frozen=True, slots=True)
class FolderFiles:
    """The facts beside tokenizer.json.

    Attributes:
        where: the folder, for errors.
        config: tokenizer_config.json.
        named: literals of the tokens that the files name, by NAMES; a name may be missing.
        extra: literals of further special tokens, in no order.
        bos, ends, pad: ids that generation_config.json, or else config.json, gives.
        template: the source of the chat template; None where there is none.
        model_vocab_size: tokens of the model beside it; None where there is no config.json.
        kept: further files of the tokenizer, by name, which are saved along.
    """

    where: str
    config: dict[str, Any] = field(default_factory=dict[str, Any])
    named: dict[str, str] = field(default_factory=dict[str, str])
    extra: tuple[str, ...] = ()
    bos: int | None = None
    ends: tuple[int, ...] = ()
    pad: int | None = None
    template: str | None = None
    model_vocab_size: int | None = None
    kept: dict[str, bytes] = field(default_factory=dict[str, bytes])


def read_folder_files(folder: Path) -> FolderFiles:
    """Read whatever a folder has of these files; each of them may be missing.

    Raises:
        UserError: one is not JSON, or something in it is of the wrong kind.
    """
    config = _read(folder / CONFIG_FILE)
    named, extra = _named_tokens(config, _read(folder / "special_tokens_map.json"), folder)
    model = _read(folder / "config.json")
    generation = {
        name: value
        for name, value in (model | _read(folder / "generation_config.json")).items()
        if name in ("bos_token_id", "eos_token_id", "pad_token_id") and value is not None
    }
    vocab_size = model.get("vocab_size")
    return FolderFiles(
        where=str(folder),
        config=config,
        named=named,
        extra=extra,
        bos=next(iter(_ids(generation, "bos_token_id", folder)), None),
        ends=_ids(generation, "eos_token_id", folder),
        pad=next(iter(_ids(generation, "pad_token_id", folder)), None),
        template=_template(config, folder),
        model_vocab_size=vocab_size if isinstance(vocab_size, int) else None,
    )


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object of a file.

    Raises:
        UserError: the file holds none, or cannot be read.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: not valid JSON ({error.msg}, line {error.lineno})") from None
    except (ValueError, RecursionError, OSError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({error})") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: not a JSON object")
    return cast(dict[str, Any], value)


def content_of(token: object) -> str | None:
    """The literal of a token, which stands there as text or as an object with its `content`."""
    if isinstance(token, dict):
        token = cast(dict[str, object], token).get("content")
    return token if isinstance(token, str) and token else None


def _read(path: Path) -> dict[str, Any]:
    return read_object(path) if path.is_file() else {}


def _named_tokens(
    config: dict[str, Any], special_map: dict[str, Any], folder: Path
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Literals by name, and the further special tokens.

    As in transformers, special_tokens_map.json has the last word, except beside a list of the added
    tokens in tokenizer_config.json, which replaced it.
    """
    kind = str(config.get("tokenizer_class") or "").removesuffix("Fast")
    said: dict[str, Any] = _ASSUMED.get(kind, {}) | config
    if "added_tokens_decoder" not in config:
        said |= special_map
    named: dict[str, str] = {}
    for name in NAMES:
        literal = content_of(said.get(name))
        if literal is not None:
            named[name] = literal
        elif said.get(name) is not None:
            raise UserError(f"{folder}: {name} is {said[name]!r}, not a token")
    extra: list[object] = []
    for key in ("additional_special_tokens", "extra_special_tokens"):
        value = said.get(key)
        if isinstance(value, dict):
            extra += cast(dict[str, object], value).values()
        elif isinstance(value, list):
            extra += cast(list[object], value)
    return named, tuple(filter(None, map(content_of, extra)))


def _ids(values: dict[str, Any], name: str, folder: Path) -> tuple[int, ...]:
    """An id, or a list of them."""
    value: object = values.get(name)
    if value is None:
        return ()
    ids = cast(list[object], value) if isinstance(value, list) else [value]
    for token in ids:
        if not isinstance(token, int) or isinstance(token, bool):
            raise UserError(f"{folder}: {name} is {value!r}, not a token's number")
    return tuple(cast(list[int], ids))


def _template(config: dict[str, Any], folder: Path) -> str | None:
    """The chat template: a file of its own, one text, or the default among named ones."""
    own = folder / "chat_template.jinja"
    if own.is_file():
        try:
            return own.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise UserError(f"{own}: cannot be read ({error})") from None
    value: object = config.get("chat_template")
    if value is None:
        value = _read(folder / "chat_template.json").get("chat_template")
    if isinstance(value, list):
        templates: dict[object, object] = {}
        for each in cast(list[object], value):
            if isinstance(each, dict):
                entry = cast(dict[object, object], each)
                templates[entry.get("name")] = entry.get("template")
        value = templates
    if isinstance(value, dict):
        templates = cast(dict[object, object], value)
        only = next(iter(templates.values())) if len(templates) == 1 else None
        value = templates.get("default", only)
        if value is None:
            raise UserError(
                f"{folder / CONFIG_FILE}: several chat templates and none named default; "
                "name one of them default"
            )
    if value is None:
        return None
    if not isinstance(value, str):
        raise UserError(f"{folder / CONFIG_FILE}: the chat template is not a text")
    return value
