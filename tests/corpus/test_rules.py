"""Quality rules: for each a text that it objects to, and one beside it that it lets be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arriero.corpus.config import RulesConfig
from arriero.corpus.rules import RULES, Page, objection

GOOD = (
    "The people of the valley bring their bread to the market in the morning, and they have time "
    "to talk with each other. In winter the river is frozen and nobody can cross it with a cart; "
    "then the smith opens his shop, where a fire burns all day long. Old songs are sung that were "
    "made before the bridge was built, when every traveller had to wait for the ferry."
)
RULE_CASES = {
    # 4 words and 5: the least that is asked for.
    "too_short": ({"min_words": 5}, "one two three four -", "one two three four five"),
    "too_long": ({"max_words": 3, "min_words": 0}, "a b c d", "a b c -"),
    # (1 + 1 + 3) / 3 is 1.67, (1 + 5) / 2 is 3.
    "word_length": ({"min_mean_word_length": 3}, "a b ccc", "a bbbbb -"),
    "symbols": ({"max_symbol_share": 0.25}, "a # b #", "a # b c"),
    "bullets": ({"max_bullet_lines": 0.5}, "- a\n• b\nc", "- a\nb\n\n"),
    "ellipses": ({"max_ellipsis_lines": 0.5}, "a...\nb…\nc", "a...\nb"),
    "few_letters": ({"min_alphabetic_words": 0.5}, "a 12 3.4", "a 12"),
    "stop_words": ({"min_stop_words": 2}, "the the cat", "The, cat: and"),
    "phrases": ({"phrases": ["lorem ipsum"]}, "x Lorem Ipsum y", "lorem"),
    "sentences": ({"min_sentences": 2}, "One. 2.5 or so", 'One. "Two."'),
    "repeated_lines": ({"max_repeated_lines": 0.3}, "a\nb\na\n a", "a\nb\nc\na"),
    "repeated_paragraphs": ({"max_repeated_paragraphs": 0.4}, "a\n\na", "a\n\nb"),
    # "a b" comes twice: 4 of 6 characters; 4 of 8 are not above a half.
    "top_ngrams": ({"max_top_2gram": 0.5, "max_top_3gram": 1, "max_top_4gram": 1},
                   "a b c a b d", "a b c a b def"),
    # The second five words are seen before: 5 of 10 characters, and 5 of 11.
    "repeated_ngrams": ({"max_repeated_5grams": 0.46},
                        "a b c d e a b c d e", "a b c d e a b c d e f"),
}  # fmt: skip


def test_every_rule_has_a_case() -> None:
    assert RULE_CASES.keys() | {"empty"} == RULES.keys()


@pytest.mark.parametrize("name", RULE_CASES)
def test_rule(name: str) -> None:
    thresholds, bad, good = RULE_CASES[name]
    rules = RulesConfig.model_validate(thresholds)
    assert RULES[name](Page(bad), rules)
    assert RULES[name](Page(good), rules) == ""


def test_good_prose_passes_all() -> None:
    assert objection(GOOD, RulesConfig()) == ("", "")


@pytest.mark.parametrize("text", ["", " \n", "\u00a0"])
def test_empty_documents_are_called_so(text: str) -> None:
    assert objection(text, RulesConfig()) == ("empty", "no text")


def test_one_word_is_too_short() -> None:
    assert objection("word", RulesConfig()) == ("too_short", "1 words")


def test_chinese_is_counted_by_signs() -> None:
    text = "早晨河上的雾很久都没有散去" * 4
    assert Page(text).num_words == 52
    rules = RulesConfig(min_words=50, min_stop_words=0, max_top_2gram=1, max_top_3gram=1,
                        max_top_4gram=1, max_repeated_5grams=1, max_repeated_10grams=1)  # fmt: skip
    assert objection(text, rules) == ("", "")


def test_toxic_text_is_not_removed() -> None:
    assert objection(GOOD + " You stupid idiots, I hate you and I will kill you all.",
                     RulesConfig()) == ("", "")  # fmt: skip


@given(st.text(max_size=300))
def test_rules_take_any_text(text: str) -> None:
    rules = RulesConfig(min_words=0, min_stop_words=0, min_mean_word_length=0, min_sentences=1)
    for rule in RULES.values():
        assert isinstance(rule(Page(text), rules), str)


def test_repeated_share_against_a_slow_count() -> None:
    words = "a b c d e x a b c d e a b c d e y z".split()
    # Marked one by one: every word that lies in a run of five whose like came before.
    marked = set()
    seen: set[tuple[str, ...]] = set()
    for at in range(len(words) - 4):
        run = tuple(words[at : at + 5])
        if run in seen:
            marked.update(range(at, at + 5))
        seen.add(run)
    from arriero.corpus.rules import _repeated_share

    assert _repeated_share(Page(" ".join(words)), 5) == len(marked) / len(words) == 10 / 18
