"""Stages 8 to 10: a tokenizer, each unit's tokens, and each source's shard with its documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from arriero.corpus.config import CorpusRecipe
from arriero.corpus.reading import DOCUMENTS, TOKENS
from arriero.corpus.stages import Context, Outputs, Stage
from arriero.corpus.storage import (
    array_writer,
    hash_file,
    hash_of,
    read_array,
    read_rows,
    row_writer,
    write_array,
    write_json,
)
from arriero.records import UserError

TOKENIZER, PIECES, SHARDS = "08-tokenizer", "09-tokens", "10-shards"
_BATCH = 1_000


def tokenizer_stage(recipe: CorpusRecipe, done: Mapping[str, Outputs], kept_key: str) -> Stage:
    """One unit.

    Args:
        kept_key: that of a tokenizer that was trained before and stays; "" trains where there is
            another corpus.
    """
    config = recipe.tokenizer
    if config.model == "train":
        key = kept_key or training_key(recipe, done)
    else:
        key = hash_of(TOKENIZER, [hash_file(path) for path in _tokenizer_files(config.model)])
    return Stage(TOKENIZER, make_tokenizer, {"all": key})


def training_key(recipe: CorpusRecipe, done: Mapping[str, Outputs]) -> str:
    """The hash of all that a tokenizer that is trained follows from."""
    facts = hash_of([part for outputs in done.values() for part in sorted(outputs.items())])
    return hash_of(TOKENIZER, recipe.tokenizer.model_dump(), recipe.seed, facts)


def make_tokenizer(context: Context, name: str) -> list[Path]:
    """Train one on the kept documents, or take one over.

    Raises:
        UserError: there is too little text for the vocabulary, or no tokenizer by the path.
    """
    del name
    from arriero.tokenizer.load import load_tokenizer
    from arriero.tokenizer.train import train_tokenizer

    recipe, folder = context.recipe, context.root / TOKENIZER / "model"
    if recipe.tokenizer.model == "train":
        texts = (row["text"] for unit in context.units() for row in _kept(context, unit.name))
        max_bytes = int(recipe.tokenizer.max_megabytes * 1e6)
        train_tokenizer(
            texts, folder, recipe.tokenizer.vocab_size,
            seed=recipe.seed, threads=1, max_bytes=max_bytes,
        )  # fmt: skip
    else:
        load_tokenizer(Path(recipe.tokenizer.model)).save(folder, model_max_length=4096)
    return [path.relative_to(context.root) for path in sorted(folder.iterdir()) if path.is_file()]


def pieces_stage(documents: Mapping[str, Outputs], tokenizer: Outputs) -> Stage:
    """A unit follows from its kept documents and from the tokenizer."""
    keys = {
        name: hash_of(PIECES, dict(tokenizer), outputs[f"{DOCUMENTS}/{name}.jsonl.zst"])
        for name, outputs in documents.items()
    }
    return Stage(PIECES, tokenise, keys)


def tokenise(context: Context, name: str) -> list[Path]:
    """Do a unit: BOS + text + EOS of its documents, and how many tokens each has."""
    from arriero.tokenizer.load import load_tokenizer

    tokenizer = load_tokenizer(context.root / TOKENIZER / "model")
    dtype = np.uint16 if tokenizer.vocab_size <= 2**16 else np.uint32
    sizes: list[int] = []
    documents = _kept(context, name)
    tokens, lengths = (Path(PIECES, f"{name}.{part}.npy") for part in ("tokens", "lengths"))
    # A unit may be one file of any size, so its tokens are not held.
    with array_writer(context.root / tokens, dtype) as write:
        while batch := list(islice(documents, _BATCH)):
            for ids in tokenizer.encode_batch([row["text"] for row in batch]):
                write(np.asarray([tokenizer.start_id, *ids, tokenizer.eos_id], dtype))
                sizes.append(len(ids) + 2)
    write_array(context.root / lengths, np.asarray(sizes, np.int64))
    return [tokens, lengths]


def shards_stage(pieces: Mapping[str, Outputs], documents: Mapping[str, Outputs]) -> Stage:
    """A unit a source."""
    units: dict[str, list[Any]] = {}
    for name, outputs in pieces.items():
        facts = [name, dict(outputs), documents[name][f"{DOCUMENTS}/{name}.jsonl.zst"]]
        units.setdefault(name.partition("/")[0], []).append(facts)
    keys = {source: hash_of(SHARDS, facts) for source, facts in units.items()}
    return Stage(SHARDS, assemble, keys)


def assemble(context: Context, name: str) -> list[Path]:
    """Write a source's tokens as a shard, and which document each row of it is."""
    from arriero.data.shards import write_tokens
    from arriero.tokenizer.load import load_tokenizer

    vocab_size = load_tokenizer(context.root / TOKENIZER / "model").vocab_size
    units = [unit.name for unit in context.units() if unit.source == name]
    counts = Path(SHARDS, f"{name}.json")
    total = 0
    paths: list[Path] = []
    rows = _documents(context, units)
    first = next(rows, None)
    if first is not None:
        folder = context.root / TOKENS / name
        total = write_tokens(chain((first,), rows), vocab_size, folder)
        with row_writer(folder / "documents.jsonl.zst") as write:
            for unit in units:
                lengths = read_array(context.root / PIECES / f"{unit}.lengths.npy")
                for row, length in zip(_kept(context, unit), lengths.tolist(), strict=True):
                    write({"id": row["id"], "tokens": length})
        names = ("tokens.bin", "starts.npy", "shard.json", "documents.jsonl.zst")
        paths = [Path(TOKENS, name, file) for file in names]
    write_json(context.root / counts, {"tokens": total})
    return [*paths, counts]


def _documents(context: Context, units: Sequence[str]) -> Iterator[Any]:
    """The ids of each document of some units."""
    for unit in units:
        tokens = read_array(context.root / PIECES / f"{unit}.tokens.npy")
        lengths = read_array(context.root / PIECES / f"{unit}.lengths.npy")
        ends = np.cumsum(lengths)
        for start, end in zip((ends - lengths).tolist(), ends.tolist(), strict=True):
            yield tokens[start:end]


def _kept(context: Context, name: str) -> Iterator[dict[str, Any]]:
    return read_rows(context.root / DOCUMENTS / f"{name}.jsonl.zst")


def _tokenizer_files(model: str) -> list[Path]:
    path = Path(model)
    if not path.exists():
        raise UserError(f"tokenizer.model: {path} does not exist; name a folder, a file or `train`")
    files = sorted(path.glob("*token*")) if path.is_dir() else [path]
    files = [file for file in files if file.is_file()]
    if not files:
        raise UserError(f"tokenizer.model: {path} holds no tokenizer; name another folder")
    return files
