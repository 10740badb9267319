"""The text that an ablation learns from: rolls and short documents of the embedded world, or files.

The corpus of `arriero run` holds short documents alone, on which no context is too short; here
most of the text are rolls, which come back to what they told.
"""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

from arriero.data.files import files_of
from arriero.records import UserError
from arriero.road.inputs import corpus_files
from arriero.road.manifest import hash_inputs
from arriero.road.recipe import Recipe
from arriero.stages.workspace import Workspace
from arriero.world import World
from arriero.world.rolls import rolls

CORPUS = "corpus.jsonl"
# A roll is longer than the context by about a half, so that most rows lie within one.
_CHARACTERS_A_SLOT = 5
_CHARACTERS_A_TOKEN = 3.7
_DOCUMENT_TOKENS = 55
_SHORT_SHARE = 0.15
# A line has about 6 tokens: the longest round takes three quarters of the context.
_SLOTS_A_PERSON = 8
_PEOPLE = (2, 40)


def corpus_paths(recipe: Recipe, folder: Path) -> tuple[Path, ...]:
    """The corpus: a file in `folder` that `draw` writes, or the user's files.

    Raises:
        UserError: files are wanted and none is named or there, or sources have weights.
    """
    if recipe.data.weights:
        raise UserError("an ablation reads the corpus as it is; leave data.weights out")
    if recipe.data.source == "world":
        return (folder / CORPUS,)
    return corpus_files(recipe.data.corpus)


def external_hash(recipe: Recipe) -> str:
    """A hash of the user's files; empty for the world."""
    if recipe.data.source == "world":
        return ""
    paths = corpus_files(recipe.data.corpus)
    return hash_inputs({"corpus": [file for path in paths for file in files_of(path)]})


def draw(recipe: Recipe, workspace: Workspace) -> None:
    """Write the world's text: about as much as a model learns from, and what is held out."""
    if recipe.data.source != "world":
        workspace.write_results({"files": list(recipe.data.corpus)})
        return
    config, seed, context = recipe.ablation, recipe.data.world.seed, recipe.pretrain.row_length
    length = _CHARACTERS_A_SLOT * context
    num_tokens = config.num_tokens * (1 - _SHORT_SHARE)
    num_rolls = config.held_out * 2 + math.ceil(num_tokens * _CHARACTERS_A_TOKEN / length)
    num_short = config.held_out + math.ceil(config.num_tokens * _SHORT_SHARE / _DOCUMENT_TOKENS)
    least, most = _PEOPLE
    people = min(max(context // _SLOTS_A_PERSON, least), most)
    texts = [
        *rolls(seed, num_rolls, most_people=people, least_characters=length),
        *(document.text for document in World(seed).documents(num_short)),
    ]
    random.Random(f"ablation/{seed}").shuffle(texts)
    with (workspace.folder / CORPUS).open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": text}) + "\n" for text in texts)
    workspace.say(f"{num_rolls:,} rolls, of up to {people} people, and {num_short:,} documents")
    workspace.write_results({"rolls": num_rolls, "people": people, "documents": num_short})
