"""What every tokenizer does, whatever file it comes from; `load_tokenizer` opens one.

A text never gives a control id: `</s>` in a text is four ordinary characters. Control ids come from
a chat layout alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from arriero.records import SpecialIds
from arriero.tokenizer.layout import Layout


class Tokenizer(Protocol):
    """Text to ids and back, and the chat layout of a model folder."""

    @property
    def vocab_size(self) -> int:
        """One more than the largest id, special ones included."""
        ...

    @property
    def special(self) -> SpecialIds:
        """Where a text begins, where an answer ends, what fills a row."""
        ...

    @property
    def bos_id(self) -> int | None:
        """`special.bos`; None where the vocabulary has no such token."""
        ...

    @property
    def eos_id(self) -> int:
        """The first of `special.ends`; it ends a document."""
        ...

    @property
    def pad_id(self) -> int:
        """`special.pad`; never an end."""
        ...

    @property
    def start_id(self) -> int:
        """What a document begins with: BOS, or where there is none the id that ends documents."""
        ...

    @property
    def control(self) -> Mapping[int, str]:
        """The special ids, which no text gives and which have none, and how each is written."""
        ...

    @property
    def byte_ids(self) -> frozenset[int]:
        """The ids that stand for one byte each."""
        ...

    @property
    def newline_ids(self) -> tuple[int, ...]:
        """The ids whose text holds a newline."""
        ...

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all that ids follow from; the same for every copy of a tokenizer."""
        ...

    @property
    def layout(self) -> Layout:
        """The chat layout; `chat` is the way to use it."""
        ...

    def encode(self, text: str) -> list[int]:
        """Ids of a text, none of them special."""
        ...

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of many texts, on all cores; equal to `encode` of each."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids.

        Special ids and ids past the vocabulary (rows by which a model's embedding is padded) are
        left out, broken UTF-8 becomes U+FFFD.

        Raises:
            IndexError: an id is negative.
        """
        ...

    def pieces(self, text: str) -> list[str]:
        """The pieces of a text as the vocabulary writes them."""
        ...

    def save(self, folder: Path, *, model_max_length: int) -> None:
        """Write the files that this package and Hugging Face programs read.

        Args:
            folder: is made if need be; files of these names are replaced.
            model_max_length: the context of the model, in tokens.
        """
        ...


def mend_surrogates(text: str) -> str:
    """`text` with lone surrogates, which UTF-8 cannot carry, as U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
