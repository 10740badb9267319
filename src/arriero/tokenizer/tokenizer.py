"""The tokenizer of section 2.2 in use: SentencePiece BPE with digits split and bytes as fallback.

A text never gives a special id: `</s>` in a text is four ordinary characters. Every text survives
encode and decode unchanged, with two exceptions of SentencePiece: a literal U+2581 (the sign that
it writes for a space) comes back as a space, and lone surrogates, which are no text, as U+FFFD.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from sentencepiece import SentencePieceProcessor

from arriero.records import UserError
from arriero.tokenizer.huggingface import write_tokenizer_files

MODEL_FILE = "tokenizer.model"


class Tokenizer:
    """A SentencePiece model with the special ids of Llama 2.

    Attributes:
        vocab_size: number of pieces, special ones included.
        byte_ids: the ids that stand for one byte each.
        fingerprint: SHA-256 of the pieces, their scores and kinds. The file's own hash is of no
            use: it changes with the number of threads and the settings of the training.
    """

    unk_id: ClassVar[int] = 0
    bos_id: ClassVar[int] = 1
    eos_id: ClassVar[int] = 2
    pad_id: ClassVar[int] = 0
    """`<unk>`, never EOS: a model whose padding is EOS does not learn to stop."""

    def __init__(self, processor: SentencePieceProcessor) -> None:
        self._processor = processor
        self.vocab_size: int = processor.vocab_size()
        ids = range(self.vocab_size)
        self.byte_ids: frozenset[int] = frozenset(i for i in ids if processor.is_byte(i))
        rows = [(processor.id_to_piece(i), processor.get_score(i), i in self.byte_ids) for i in ids]
        self.fingerprint: str = hashlib.sha256(json.dumps(rows).encode()).hexdigest()

    @classmethod
    def load(cls, path: Path | str) -> Tokenizer:
        """Read a model folder or a tokenizer.model file.

        Raises:
            UserError: there is no such file, or it holds no SentencePiece model with the special
                ids of Llama 2 (unk 0, BOS 1, EOS 2).
        """
        path = Path(path)
        file = path / MODEL_FILE if path.is_dir() else path
        if not file.is_file():
            raise UserError(f"no tokenizer at {file}: name a model folder or a {MODEL_FILE}")
        try:
            processor = SentencePieceProcessor(model_proto=file.read_bytes())
        except (RuntimeError, OSError) as error:
            raise UserError(f"{file} is not a SentencePiece model or is damaged") from error
        special = processor.unk_id(), processor.bos_id(), processor.eos_id()
        if special != (cls.unk_id, cls.bos_id, cls.eos_id):
            raise UserError(f"{file} has unk, BOS, EOS at {special}; Llama 2 needs (0, 1, 2)")
        return cls(processor)

    def save(self, folder: Path, *, model_max_length: int) -> None:
        """Write tokenizer.model and the files that Hugging Face programs read.

        Args:
            folder: is made if need be; files of these names are replaced.
            model_max_length: the context of the model, in tokens.
        """
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MODEL_FILE).write_bytes(self._processor.serialized_model_proto())
        write_tokenizer_files(self._processor, folder, model_max_length)

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without BOS and EOS."""
        try:
            return self._processor.encode(text, out_type=int)
        except RuntimeError:  # a lone surrogate: rare, so not looked for beforehand
            return self._processor.encode(mend_surrogates(text), out_type=int)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of many texts, on all cores; equal to `encode` of each."""
        try:
            return self._processor.encode(list(texts), out_type=int)
        except (RuntimeError, TypeError):
            return self._processor.encode([mend_surrogates(t) for t in texts], out_type=int)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids; special ones are left out, broken UTF-8 becomes U+FFFD.

        Raises:
            IndexError: an id lies outside the vocabulary.
        """
        return self._processor.decode([i for i in ids if i > self.eos_id or i < 0])

    def pieces(self, text: str) -> list[str]:
        """The pieces of a text as SentencePiece writes them, with U+2581 for a space."""
        return self._processor.encode(mend_surrogates(text), out_type=str)


def mend_surrogates(text: str) -> str:
    """`text` with lone surrogates, which UTF-8 cannot carry, as U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
