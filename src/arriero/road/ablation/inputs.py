"""The text that an ablation learns from: ledgers and short documents of the world, or files.

The corpus of `arriero run` holds short documents alone, on which no context is too short; here
most of the text are ledgers, which come back to their own words.
"""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

from arriero.data.files import files_of
from arriero.road.inputs import existing_files
from arriero.road.manifest import hash_inputs
from arriero.road.recipe import Recipe
from arriero.stages.workspace import Workspace
from arriero.world import World
from arriero.world.ledgers import ledgers

CORPUS = "corpus.jsonl"
# Longer than the context by two fifths, so that most rows lie within one.
_WORDS_A_SLOT = 1.4
_TOKENS_A_WORD = 1.15
_DOCUMENT_TOKENS = 55
_SHORT_SHARE = 0.15
# So many that half the context has not seen all of them.
_KINDS_A_SLOT = (1 / 8, 1 / 3)
_MOST_KINDS = 100


def corpus_paths(recipe: Recipe, folder: Path) -> tuple[Path, ...]:
    """The corpus: a file in `folder` that `draw` writes, or the user's files.

    Raises:
        UserError: files are wanted and none is named or there.
    """
    if recipe.data.source == "world":
        return (folder / CORPUS,)
    return existing_files("corpus", recipe.data.corpus)


def external_hash(recipe: Recipe) -> str:
    """A hash of the user's files; empty for the world."""
    if recipe.data.source == "world":
        return ""
    paths = existing_files("corpus", recipe.data.corpus)
    return hash_inputs([file for path in paths for file in files_of(path)])


def draw(recipe: Recipe, workspace: Workspace) -> None:
    """Write the world's text: about as much as a model learns from, and what is held out."""
    if recipe.data.source != "world":
        workspace.write_results({"files": list(recipe.data.corpus)})
        return
    config, seed, context = recipe.ablation, recipe.data.world.seed, recipe.pretrain.row_length
    num_words = math.ceil(_WORDS_A_SLOT * context)
    num_tokens = config.num_tokens * (1 - _SHORT_SHARE)
    num_long = config.held_out * 2 + math.ceil(num_tokens / (num_words * _TOKENS_A_WORD))
    num_short = config.held_out + math.ceil(config.num_tokens * _SHORT_SHARE / _DOCUMENT_TOKENS)
    fewest, most = (min(max(round(share * context), 2), _MOST_KINDS) for share in _KINDS_A_SLOT)
    texts = [
        *ledgers(seed, num_long, num_words=num_words, kinds=(fewest, most)),
        *(document.text for document in World(seed).documents(num_short)),
    ]
    random.Random(f"ablation/{seed}").shuffle(texts)
    with (workspace.folder / CORPUS).open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": text}) + "\n" for text in texts)
    workspace.say(f"{num_long:,} ledgers of {num_words} words and {num_short:,} documents")
    workspace.write_results({"ledgers": num_long, "words": num_words, "documents": num_short})
