"""The tokenizer of section 2.2 in use: SentencePiece BPE with digits split and bytes as fallback.

Every text survives encode and decode unchanged, with two exceptions of SentencePiece: a literal
U+2581 (the sign that it writes for a space) comes back as a space, and lone surrogates, which are
no text, as U+FFFD.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from sentencepiece import SentencePieceProcessor

from arriero.records import LLAMA2_IDS, SpecialIds, UserError
from arriero.tokenizer.huggingface import write_tokenizer_files
from arriero.tokenizer.llama2 import Llama2Layout
from arriero.tokenizer.tokenizer import mend_surrogates

MODEL_FILE = "tokenizer.model"
_MANY = 64  # texts: starting threads takes as long as encoding some tens of short ones
UNK_ID, BOS_ID, EOS_ID = 0, 1, 2


class SentencePieceTokenizer:
    """A SentencePiece model with the special ids of Llama 2, and the Llama 2 chat layout.

    Attributes:
        vocab_size: number of pieces, special ones included.
        byte_ids: the ids that stand for one byte each.
        fingerprint: SHA-256 of the pieces, their scores and kinds. The file's own hash is of no
            use: it changes with the number of threads and the settings of the training.
    """

    special: SpecialIds = LLAMA2_IDS
    bos_id: int | None = BOS_ID
    eos_id: int = EOS_ID
    start_id: int = BOS_ID
    pad_id: int = LLAMA2_IDS.pad
    """`<unk>`, never EOS: a model whose padding is EOS does not learn to stop."""

    def __init__(self, processor: SentencePieceProcessor) -> None:
        self._processor = processor
        self.vocab_size: int = processor.vocab_size()
        ids = range(self.vocab_size)
        self.byte_ids: frozenset[int] = frozenset(i for i in ids if processor.is_byte(i))
        rows = [(processor.id_to_piece(i), processor.get_score(i), i in self.byte_ids) for i in ids]
        self.fingerprint: str = hashlib.sha256(json.dumps(rows).encode()).hexdigest()
        self.control = {i: processor.id_to_piece(i) for i in (UNK_ID, BOS_ID, EOS_ID)}

    @property
    def layout(self) -> Llama2Layout:
        """Llama 2's."""
        return Llama2Layout(self.encode_batch)

    @property
    def newline_ids(self) -> tuple[int, ...]:
        """The newline's byte; pieces that hold a newline, where there are any."""
        ids = range(self.vocab_size)
        found = (i for i in ids if "\n" in self._processor.id_to_piece(i))
        return (self._processor.encode("\n", out_type=int)[-1], *found)

    def save(self, folder: Path, *, model_max_length: int) -> None:
        """Write tokenizer.model and the files that Hugging Face programs read."""
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
        if len(texts) < _MANY:
            return [self.encode(text) for text in texts]
        try:
            return self._processor.encode(list(texts), out_type=int)
        except (RuntimeError, TypeError):
            return self._processor.encode([mend_surrogates(t) for t in texts], out_type=int)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, as `Tokenizer.decode` says."""
        kept = [i for i in ids if EOS_ID < i < self.vocab_size or i < 0]
        return self._processor.decode(kept)

    def pieces(self, text: str) -> list[str]:
        """The pieces of a text as SentencePiece writes them, with U+2581 for a space."""
        return self._processor.encode(mend_surrogates(text), out_type=str)


def read_model(file: Path) -> SentencePieceProcessor:
    """The SentencePiece model of a file, whatever its special ids.

    Raises:
        UserError: the file is none or is damaged.
    """
    content = file.read_bytes()
    try:
        return SentencePieceProcessor(model_proto=content)
    except (RuntimeError, OSError) as error:
        raise UserError(f"{file} is not a SentencePiece model or is damaged") from error


def is_llama2_vocabulary(processor: SentencePieceProcessor) -> bool:
    """Whether the first ids are unk, BOS, EOS and the bytes, under Llama 2's names.

    Symbols that some models have before their bytes would be read as ids wherever they stand in a
    text.
    """
    names = [processor.id_to_piece(i) for i in range(min(4, processor.vocab_size()))]
    ids = processor.unk_id(), processor.bos_id(), processor.eos_id()
    return names == ["<unk>", "<s>", "</s>", "<0x00>"] and ids == (UNK_ID, BOS_ID, EOS_ID)


def is_bpe(processor: SentencePieceProcessor) -> bool:
    """Whether the scores are ranks; those of a unigram model are log-probabilities."""
    scores = (processor.get_score(i) for i in range(processor.vocab_size()))
    return all(score == int(score) for score in scores)
