"""The corpus in tokens, where a stage that learns from it keeps them; checked, and mended."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from arriero.data.documents import read_documents
from arriero.data.mixing import Source, shard_folder, write_mix
from arriero.data.shards import flaw, is_written, write_shard
from arriero.records import UserError
from arriero.stages.workspace import Workspace
from arriero.tokenizer.load import load_tokenizer
from arriero.tokenizer.tokenizer import Tokenizer

# The folder of the tokenised corpus among what a stage leaves.
SHARD = "shard"


def tokenise(
    corpus: Sequence[Path], sources: Sequence[Source], tokenizer: Tokenizer, workspace: Workspace
) -> None:
    """Write the corpus's tokens into `folder/shard`: what is not there yet, or no longer whole.

    Raises:
        UserError: a source holds no text, or a row of it is wrong.
    """
    folder = workspace.folder / SHARD
    if workspace.ranks.is_first:
        for number, source in enumerate(sources):
            _tokenise(source.paths, shard_folder(folder, number), source.name, tokenizer, workspace)
        if sources:
            write_mix(folder, sources)
        else:
            _tokenise(corpus, folder, "", tokenizer, workspace)
    workspace.ranks.wait()


def _tokenise(
    paths: Sequence[Path], folder: Path, name: str, tokenizer: Tokenizer, workspace: Workspace
) -> None:
    """Write one shard, unless it is there and every byte is as it was written."""
    if is_written(folder):
        if not (problem := flaw(folder)):
            return
        workspace.say(f"{folder}: {problem}; tokenising the corpus again")
    try:
        num_tokens = write_shard(read_documents(paths), tokenizer, folder)
    except UserError as error:
        raise UserError(f"source {name}: {error}" if name else str(error)) from None
    workspace.say(f"{name + ': ' if name else ''}{num_tokens:,} tokens of text")


def mend(
    *,
    corpus: Sequence[Path],
    sources: Sequence[Source],
    tokenizer_folder: Path,
    workspace: Workspace,
) -> None:
    """Tokenise again what a finished stage's shards have lost: they follow from the corpus alone.

    Raises:
        UserError: as tokenise.
    """
    tokenise(corpus, sources, load_tokenizer(tokenizer_folder), workspace)
