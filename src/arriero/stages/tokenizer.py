"""Stage `tokenizer`: SentencePiece BPE over the corpus and the instructions (section 2.2).

A run that starts from somebody's model takes over the tokenizer of that.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from arriero.data.dialogs import read_dialogs
from arriero.data.documents import read_documents
from arriero.stages.workspace import Workspace
from arriero.tokenizer.load import load_tokenizer
from arriero.tokenizer.template import render_turns
from arriero.tokenizer.train import measure, train_tokenizer

_MEASURED_DOCUMENTS = 2000


class TokenizerConfig(BaseModel):
    """How much text the tokenizer learns from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_megabytes: float = Field(
        default=1000.0,
        gt=0,
        description="text that merges are counted on, in MB; the paper gives none",
    )


def run(
    config: TokenizerConfig,
    *,
    vocab_size: int,
    corpus: Sequence[Path],
    instructions: Sequence[Path],
    workspace: Workspace,
) -> None:
    """Train `folder/model/tokenizer.model`.

    The instructions take part in the chat layout, so that its tags ([INST] and so on), which are
    plain text in Llama 2, cost few tokens.
    """
    facts = train_tokenizer(
        _texts(corpus, instructions),
        workspace.model,
        vocab_size,
        seed=workspace.seed,
        max_bytes=int(config.max_megabytes * 1e6),
    )
    workspace.say(f"{facts.vocab_size} tokens, {facts.bytes_per_token:.2f} bytes a token")
    workspace.write_results(asdict(facts))


def adopt(base: Path, *, corpus: Sequence[Path], context: int, workspace: Workspace) -> None:
    """Take over the tokenizer of a model folder, and say what it does to the corpus."""
    tokenizer = load_tokenizer(base)
    tokenizer.save(workspace.model, model_max_length=context)
    documents = itertools.islice(read_documents(corpus), _MEASURED_DOCUMENTS)
    facts = measure(tokenizer, documents)
    workspace.say(f"{facts.vocab_size} tokens, {facts.bytes_per_token:.2f} bytes a token")
    workspace.write_results(asdict(facts))


def _texts(corpus: Sequence[Path], instructions: Sequence[Path]) -> Iterator[str]:
    for dialog in read_dialogs(instructions) if instructions else ():
        yield from render_turns(dialog.messages)
    yield from read_documents(corpus)
