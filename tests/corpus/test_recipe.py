"""A corpus's recipe: one line for everything that can be wrong in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from arriero.corpus.recipe import corpus_recipe_names, load_corpus_recipe, recipe_text, resolved
from arriero.records import UserError

SOURCE = '[sources.web]\npaths = ["a.jsonl"]\n'


def load(tmp_path: Path, text: str, **overrides: Any) -> Any:
    path = tmp_path / "r.toml"
    path.write_text(text)
    return load_corpus_recipe(path, overrides)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no source"),
        ("nme = 'x'\n" + SOURCE, r"unknown key nme; did you mean name\?"),
        ("[sources.web]\npaths=['a']\nlicence='x'",
         r"unknown key sources.web.licence; did you mean license"),
        ("[rules]\nmin_word = 3\n" + SOURCE, r"rules.min_word; did you mean rules.min_words"),
        ("[weights]\nwbe = 1\n" + SOURCE, r"there is no source wbe; did you mean web\?"),
        ("[weights]\nweb = 0\n" + SOURCE, "weights.web"),
        (SOURCE + "weight = 1\n[sources.b]\npaths=['b']", "no weight for b"),
        ("[sources.'../x']\npaths = ['a']", "no name of a source"),
        ("[sources.units]\npaths = ['a']", "a folder of every stage"),
        ("[sources.A]\npaths = ['a']\n[sources.a]\npaths = ['b']", "capitals"),
        ("[sources.web]\npaths = []", "sources.web.paths"),
        (SOURCE + "format = 'csv'", "sources.web.format"),
        (SOURCE + "rules = {max_x = 1}", "unknown key max_x"),
        ("[rules]\nmin_words = 9\nmax_words = 3\n" + SOURCE, "min_words 9 is above max_words 3"),
        ("[identifiers]\nmask = ['name']\n" + SOURCE, "'name' is none of email"),
        ("[duplicates]\nthreshold = 0\n" + SOURCE, "duplicates.threshold"),
        ("[executor]\nkind = 'slurm'\n" + SOURCE, "partition is missing"),
        ("[executor]\nnodes = 2\nnode = 2\n" + SOURCE, "they count from 0"),
        ("name = ", "not valid TOML"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_a_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_command_line_goes_first(tmp_path: Path) -> None:
    recipe = load(
        tmp_path, "seed = 1\n" + SOURCE, **{"rules.min_words": "7", "weights": {"web": "2"}}
    )
    assert (recipe.seed, recipe.rules.min_words, recipe.weight_of("web")) == (1, 7, 2.0)


def test_resolved_recipe_reads_back_the_same(tmp_path: Path) -> None:
    for name in corpus_recipe_names():
        recipe = resolved(load_corpus_recipe(name), tmp_path)
        path = tmp_path / "again.toml"
        path.write_text(recipe_text(recipe))
        assert load_corpus_recipe(path) == recipe


def test_rules_of_a_source(tmp_path: Path) -> None:
    recipe = load(tmp_path, "[rules]\nmin_words = 9\n" + SOURCE + "rules = {max_words = 50}")
    rules = recipe.rules_of("web")
    assert (rules.min_words, rules.max_words, recipe.rules.max_words) == (9, 50, 100_000)
