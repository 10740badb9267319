"""A `tokenizer.json` in use: the tokenizers library's own format, with the chat template beside it.

Llama 3, SmolLM and their like come so (byte-level BPE), and what was built on Llama 2 with further
tokens or another chat template. Ids are those of the file as it stands; classes of transformers
that build a tokenizer anew from parts of the file (`LlamaTokenizer` there) may give others, so what
is saved names `PreTrainedTokenizerFast`, which does not.

Control tokens are the special ones and those that the files name: no text gives them, and they have
none. Markers, added tokens such as `</think>` that the chat template writes, come from no text
either, but what a model says with them is shown. Other added tokens (runs of spaces, say) are text.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Sequence
from pathlib import Path

from tokenizers import pre_tokenizers

from arriero.records import Message, SpecialIds
from arriero.tokenizer.control import Breaker, tags_in
from arriero.tokenizer.folder_files import CONFIG_FILE, TOKENIZER_FILE, FolderFiles
from arriero.tokenizer.folder_layout import FolderLayout
from arriero.tokenizer.json_source import read_source
from arriero.tokenizer.layout import Layout
from arriero.tokenizer.probe import probe
from arriero.tokenizer.rendering import renderer
from arriero.tokenizer.special import find_special
from arriero.tokenizer.template import CHAT_TEMPLATE
from arriero.tokenizer.tokenizer import mend_surrogates

_MARKER = re.compile(r"[<\[{|｜].*[>\]}|｜]", re.DOTALL)
_WRITTEN = ("bos_token", "eos_token", "unk_token")


class JsonTokenizer:
    """The tokenizer of a tokenizer.json and the files beside it; see `Tokenizer` for its members.

    Args:
        text: the content of tokenizer.json.
        files: the facts beside it. Without a chat template the Llama 2 layout is used, which other
            programs then find as a template too.

    Raises:
        UserError: the text is no such file, its special tokens do not fit, or the chat template
            cannot be used.
    """

    def __init__(self, text: str, files: FolderFiles) -> None:
        self._text, self._files = text, files
        source = read_source(text, str(Path(files.where) / TOKENIZER_FILE))
        self._template = CHAT_TEMPLATE if files.template is None else files.template
        hinted = source.literals({*files.ends, *([] if files.bos is None else [files.bos])})
        self._variables = _variables(files, hinted)
        special = {literal for literal, is_special in source.added.items() if is_special}
        special |= {*files.named.values(), *files.extra, *hinted.values()}
        others = {each for each in source.added if _MARKER.fullmatch(each.strip())} - special
        self._facts = probe(self._render, sorted(special | others), files.where)
        if self._facts.end is not None:
            special.add(self._facts.end)
        written = self._facts.own + self._template
        markers = {each for each in others - special if each in written}
        self._backend = source.backend(special | markers)
        self._lock = threading.Lock()
        self._is_byte_level = source.is_byte_level
        id_of = self._backend.token_to_id
        found = ((id_of(literal), literal) for literal in sorted(special))
        self.control: dict[int, str] = {i: literal for i, literal in found if i is not None}
        self.vocab_size: int = source.vocab_size
        self.special: SpecialIds = find_special(
            files, id_of, self.control, self.vocab_size, self._facts.end
        )
        unknown = {id_of(each) for each in (source.unknown, files.named.get("unk_token")) if each}
        # What a vocabulary lacks it must write somehow, if not by a token that means something.
        unguarded = unknown - {self.special.bos, *self.special.ends}
        guarded = (*self.control, *(source.ids[marker] for marker in markers))
        self._guarded = frozenset(i for i in guarded if i not in unguarded)
        self.layout: Layout = FolderLayout(
            where=files.where,
            render=self._render,
            facts=self._facts,
            breaker=Breaker({*self.control.values(), *markers, *tags_in(self._facts.own)}),
            encode=self._encode_template,
            guarded=self._guarded,
            end=self.control[self.eos_id],
        )

    def __reduce__(self) -> tuple[type[JsonTokenizer], tuple[str, FolderFiles]]:
        return JsonTokenizer, (self._text, self._files)

    @property
    def bos_id(self) -> int | None:
        """`special.bos`."""
        return self.special.bos

    @property
    def eos_id(self) -> int:
        """The first of `special.ends`."""
        return self.special.ends[0]

    @property
    def pad_id(self) -> int:
        """`special.pad`."""
        return self.special.pad

    @property
    def start_id(self) -> int:
        """BOS, or the end of the document before."""
        return self.eos_id if self.special.bos is None else self.special.bos

    @property
    def byte_ids(self) -> frozenset[int]:
        """The 256 signs of a byte-level alphabet, or the pieces of the form `<0x0A>`."""
        signs = (
            pre_tokenizers.ByteLevel.alphabet()
            if self._is_byte_level
            else [f"<0x{byte:02X}>" for byte in range(256)]
        )
        found = (self._backend.token_to_id(sign) for sign in signs)
        return frozenset(i for i in found if i is not None) - self.control.keys()

    @property
    def newline_ids(self) -> tuple[int, ...]:
        """Byte-level pieces write a newline as \u010a."""
        sign = "\u010a" if self._is_byte_level else "\n"
        vocab = self._backend.get_vocab()
        found = {i for piece, i in vocab.items() if sign in piece or piece == "<0x0A>"}
        return tuple(sorted(found - self.control.keys()))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the vocabulary with all that cuts a text, special ids and chat template."""
        source = read_source(self._text, self._files.where)
        turn = None if self._facts.end is None else self._backend.token_to_id(self._facts.end)
        special = [self.bos_id, self.eos_id, turn, self.pad_id]
        facts = [source.defining(), special, self._template, self._variables]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def encode(self, text: str) -> list[int]:
        """Ids of a text, none of them special."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of many texts, on all cores."""
        guarded = self._guarded
        return [
            # A vocabulary may hold a control token among its ordinary pieces too.
            ids if guarded.isdisjoint(ids) else [i for i in ids if i not in guarded]
            for ids in self._encode(texts, as_text=True)
        ]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, as `Tokenizer.decode` says."""
        if min(ids, default=0) < 0:
            raise IndexError("an id is negative")
        control, size = self.control, self.vocab_size
        kept = [i for i in ids if i not in control and i < size]
        return self._backend.decode(kept, skip_special_tokens=False)

    def pieces(self, text: str) -> list[str]:
        """The pieces of a text; byte-level ones in the alphabet of 256 signs."""
        pieces = (self._backend.id_to_token(i) for i in self.encode(text))
        return [piece for piece in pieces if piece is not None]

    def save(self, folder: Path, *, model_max_length: int) -> None:
        """Write tokenizer.json as it was, tokenizer_config.json with the chat template, and more.

        Kept is what the folder said, but for `auto_map`; the class becomes one that reads
        tokenizer.json as it stands, and padding an id that is no end.
        """
        folder.mkdir(parents=True, exist_ok=True)
        (folder / TOKENIZER_FILE).write_text(self._text, encoding="utf-8", newline="")
        for name, content in self._files.kept.items():
            (folder / name).write_bytes(content)
        named = self._files.named | self._variables
        if self.pad_id in self.control:
            named["pad_token"] = self.control[self.pad_id]
        config = self._files.config | named
        config |= {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": model_max_length,
            "chat_template": self._template,
        }
        config.pop("auto_map", None)
        _write_json(folder / CONFIG_FILE, config)
        _write_json(folder / "special_tokens_map.json", named)
        # A template in a file of its own would be read before the one in the configuration.
        (folder / "chat_template.jinja").unlink(missing_ok=True)

    def _encode_template(self, texts: Sequence[str]) -> list[list[int]]:
        return self._encode(texts, as_text=False)

    def _encode(self, texts: Sequence[str], *, as_text: bool) -> list[list[int]]:
        """Literals of control tokens are text, or they are what they are.

        The library keeps this as a switch, so threads take turns.
        """
        with self._lock:
            self._backend.encode_special_tokens = as_text
            try:
                found = self._backend.encode_batch_fast(list(texts), add_special_tokens=False)
            except (TypeError, UnicodeEncodeError):  # a lone surrogate
                mended = [mend_surrogates(text) for text in texts]
                found = self._backend.encode_batch_fast(mended, add_special_tokens=False)
        return [each.ids for each in found]

    def _render(
        self, dialogs: Sequence[Sequence[Message]], add_generation_prompt: bool
    ) -> list[str]:
        template = renderer(self._template, tuple(sorted(self._variables.items())))
        return template.render(
            self._files.where, dialogs, add_generation_prompt=add_generation_prompt
        )


def _variables(files: FolderFiles, literals: dict[int, str]) -> dict[str, str]:
    """What the template may call by name: the literals named in the files.

    Our own template needs BOS and EOS, which a folder may name by their ids alone.
    """
    variables = {name: files.named[name] for name in _WRITTEN if name in files.named}
    if files.template is None:
        ids = {"bos_token": files.bos, "eos_token": next(iter(files.ends), None)}
        is_silent = {name: name not in files.config for name in ids}
        for name, token in ids.items():
            if token in literals and is_silent[name]:
                variables.setdefault(name, literals[token])
    return variables


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
