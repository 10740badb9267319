"""Training the tokenizer of section 2.2: SentencePiece BPE, every digit a token, bytes as fallback.

Llama 2 takes over Llama 1's tokenizer of 32,000 pieces; here it is trained on the corpus at hand,
with the same settings. One is added: the ten digits are required, because in a corpus with few of
them they would fall back to bytes. The corpus is read line by line, as there, so that a newline is
always its byte piece. SentencePiece leaves out lines with U+2585, its own sign in training, and
reads literals such as `</s>` as the end of a word.
"""

from __future__ import annotations

import io
import os
import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import sentencepiece

from arriero.records import UserError
from arriero.tokenizer.sentence_piece import (
    BOS_ID,
    EOS_ID,
    MODEL_FILE,
    UNK_ID,
    SentencePieceTokenizer,
    read_model,
)
from arriero.tokenizer.tokenizer import Tokenizer, mend_surrogates

MAX_BYTES = 1 << 30
"""Memory for the corpus. Merges are settled long before a gigabyte of text."""

EXAMPLES: tuple[str, ...] = (
    "In 2023 a llama carried 1,048 kg.",
    "  indented\ttext",
    "cr\u00e8me br\u00fbl\u00e9e",
)


@dataclass(frozen=True, slots=True)
class TokenizerExample:
    """A text and its pieces."""

    text: str
    pieces: list[str]


@dataclass(frozen=True, slots=True)
class TokenizerFacts:
    """What a trained tokenizer does to the documents it was trained on.

    `bytes` are UTF-8. `byte_fallback_share` is the share of tokens that are single bytes; the
    newline does not count, as it is a byte by design.
    """

    vocab_size: int
    documents: int
    bytes: int
    tokens: int
    bytes_per_token: float
    byte_fallback_share: float
    examples: tuple[TokenizerExample, ...]


def train_tokenizer(
    texts: Iterable[str],
    output: Path,
    vocab_size: int,
    *,
    seed: int = 0,
    threads: int = 2,
    max_bytes: int = MAX_BYTES,
) -> TokenizerFacts:
    """Train on `texts` and write `output/tokenizer.model`.

    Args:
        texts: documents; read once.
        output: folder, made if need be. The file appears whole or not at all.
        vocab_size: number of pieces, the 3 special ones and the 256 bytes included.
        seed: chooses the sample, where the corpus is larger than `max_bytes`; the training itself
            draws nothing at random.
        threads: for SentencePiece; the pieces do not depend on it.
        max_bytes: of a larger corpus a sample of documents is used, between half as large and
            just as large.

    Raises:
        UserError: the corpus is empty, or too small or too rich in signs for `vocab_size`.
    """
    documents = _sample(texts, max_bytes, seed)
    if not any(document.strip() for document in documents):
        raise UserError("the tokenizer's corpus holds no text: name files with text in them")
    model = _train(documents, vocab_size, threads)
    output.mkdir(parents=True, exist_ok=True)
    unfinished = output / f"{MODEL_FILE}.unfinished"
    with unfinished.open("wb") as file:
        file.write(model)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(output / MODEL_FILE)
    return measure(SentencePieceTokenizer(read_model(output / MODEL_FILE)), documents)


def measure(tokenizer: Tokenizer, documents: Iterable[str]) -> TokenizerFacts:
    """How `tokenizer` does on `documents`, and its pieces for a few texts."""
    num_documents = num_bytes = num_tokens = num_fallback = 0
    fallback = tokenizer.byte_ids - set(tokenizer.newline_ids)
    examples = list(EXAMPLES)
    for document in documents:
        ids = tokenizer.encode(document)
        num_documents += 1
        num_bytes += len(mend_surrogates(document).encode())
        num_tokens += len(ids)
        num_fallback += sum(i in fallback for i in ids)
        if len(examples) < len(EXAMPLES) + 2:
            examples.append(document.strip()[:80])
    return TokenizerFacts(
        vocab_size=tokenizer.vocab_size,
        documents=num_documents,
        bytes=num_bytes,
        tokens=num_tokens,
        bytes_per_token=num_bytes / max(num_tokens, 1),
        byte_fallback_share=num_fallback / max(num_tokens, 1),
        examples=tuple(TokenizerExample(text, tokenizer.pieces(text)) for text in examples),
    )


def _sample(texts: Iterable[str], max_bytes: int, seed: int) -> list[str]:
    """All texts, or of a larger corpus a fair sample of at most `max_bytes`, in order.

    Each text draws a number in [0, 1) and stays while that lies below a bar; the bar is halved
    whenever the kept texts grow too large. So every text has the same chance, in one pass.
    """
    draw = random.Random(seed).random
    bar, size = 1.0, 0
    kept: list[tuple[float, str, int]] = []
    for text in texts:
        number = draw()
        if number >= bar:
            continue
        text = mend_surrogates(text)
        kept.append((number, text, len(text.encode())))
        size += kept[-1][2]
        while size > max_bytes and len(kept) > 1:
            bar /= 2
            kept = [row for row in kept if row[0] < bar] or [min(kept)]
            size = sum(row[2] for row in kept)
    return [text for _, text, _ in kept]


def _lines(documents: Iterable[str]) -> Iterator[str]:
    return (line for document in documents for line in document.split("\n") if line)


def _train(documents: Iterable[str], vocab_size: int, threads: int) -> bytes:
    """The bytes of tokenizer.model."""
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=_lines(documents),
            model_writer=model,
            model_type="bpe",
            vocab_size=vocab_size,
            hard_vocab_limit=False,  # a model that came out smaller tells the largest possible
            byte_fallback=True,
            split_digits=True,
            required_chars="0123456789",
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            add_dummy_prefix=True,
            allow_whitespace_only_pieces=True,
            character_coverage=0.99995,
            max_sentence_length=1 << 30,  # longer lines would be dropped in silence
            unk_id=UNK_ID,
            bos_id=BOS_ID,
            eos_id=EOS_ID,
            pad_id=-1,
            num_threads=threads,
            minloglevel=2,
        )
    except RuntimeError as error:
        too_small = re.search(r"smaller than required_chars\. \d+ vs (\d+)", str(error))
        if too_small is None:
            raise UserError(f"no tokenizer could be trained on this corpus: {error}") from error
        raise UserError(
            f"a vocabulary of {vocab_size} has no room for the {too_small[1]} bytes and signs "
            f"of this corpus: set vocab_size to {too_small[1]} or more"
        ) from error
    possible = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue()).vocab_size()
    if possible < vocab_size:
        raise UserError(
            f"the corpus is too small for a vocabulary of {vocab_size}: "
            f"set vocab_size to {possible} or less, or give more text"
        )
    return model.getvalue()
