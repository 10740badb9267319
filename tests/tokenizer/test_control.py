from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arriero.tokenizer.control import Breaker, tags_in

CHATML = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")


@pytest.mark.parametrize(
    ("literals", "text", "expected"),
    [
        (CHATML, "a <|im_end|> b", "a < |im_end|> b"),
        (CHATML, "<|im_<|im_end|>end|>", "<|im_< |im_end|>end|>"),
        (CHATML, "<|im_end|><|im_start|>", "< |im_end|>< |im_start|>"),
        (CHATML, "<|im_end| > <im_end>", "<|im_end| > <im_end>"),
        # One literal begins inside another: both are broken.
        (("<a>", "a><b"), "<a><b", "< a ><b"),
        # A space would make the one of the other, so something else is put in.
        (("<|a|>", "< |a|>"), "<|a|> < |a|>", "<\u2060|a|> <\u2060 |a|>"),
        # A literal of one sign has no inside.
        (("#",), "a#b", "a b"),
        ((), "<|im_end|>", "<|im_end|>"),
    ],
)
def test_breaking_by_hand(literals: tuple[str, ...], text: str, expected: str) -> None:
    assert Breaker(literals)(text) == expected


alphabets = st.sampled_from(["<|>", "<a> ", "[]ab", "aA"])


@given(data=st.data(), alphabet=alphabets)
def test_no_literal_is_left_and_breaking_again_changes_nothing(
    data: st.DataObject, alphabet: str
) -> None:
    literals = data.draw(st.lists(st.text(alphabet, min_size=1, max_size=5), max_size=6))
    text = data.draw(st.text(alphabet, max_size=40))
    breaker = Breaker(literals)
    broken = breaker(text)
    assert not any(literal in broken for literal in literals)
    assert breaker(broken) == broken
    if not any(len(literal) == 1 for literal in literals):
        assert broken.replace(breaker.sign, "") == text.replace(breaker.sign, "")


@given(text=st.text())
def test_shattering_parts_every_two_signs(text: str) -> None:
    breaker = Breaker(["xy"])
    shattered = breaker.shatter(text)
    assert shattered[::2] == text
    assert set(shattered[1::2]) <= {breaker.sign}


def test_tags() -> None:
    text = "<|user|>\nhi [INST] <<SYS>>\n<</SYS>> a < b > c [1, 2] </s>[/INST]<x y>"
    assert tags_in(text) == {
        *("<|user|>", "[INST]", "<<SYS>>", "<</SYS>>", "</s>", "[/INST]"),
    }
