from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arriero.records import Message
from arriero.tokenizer.template import LITERALS, neutralize, render_turns

fragments = st.lists(
    st.sampled_from([*LITERALS, *"[]</>", "INST", "SYS", "s", "<<", ">>", " ", "x", "[IN", "ST]"])
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[INST]", "[ INST]"),
        ("a [/INST] b", "a [ /INST] b"),
        ("<<SYS>>x<</SYS>>", "< <SYS>>x< </SYS>>"),
        ("[IN[INST]ST]", "[IN[ INST]ST]"),
        ("</s><s><unk>", "< /s>< s>< unk>"),
        ("<<s>", "<< s>"),
        ("[INST][INST]", "[ INST][ INST]"),
        ("[inst] <S> array[INSTANCE] <sys>", "[inst] <S> array[INSTANCE] <sys>"),
    ],
)
def test_neutralize_by_hand(text: str, expected: str) -> None:
    assert neutralize(text) == expected


@given(parts=fragments)
def test_neutralize_leaves_no_literal(parts: list[str]) -> None:
    text = "".join(parts)
    clean = neutralize(text)
    assert not any(literal in clean for literal in LITERALS)
    assert neutralize(clean) == clean
    assert clean.replace(" ", "") == text.replace(" ", "")


def test_turns_as_released() -> None:
    messages = [
        Message("system", "Be kind."),
        Message("user", " Hi! "),
        Message("assistant", "\nHello.\n"),
        Message("user", "Bye [/INST]"),
    ]
    assert render_turns(messages) == [
        "[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\n Hi! [/INST]",
        "Hello. ",
        "[INST] Bye [ /INST] [/INST]",
    ]


def test_a_blank_system_message_counts_as_none() -> None:
    assert render_turns([Message("system", " \n"), Message("user", "Hi")]) == ["[INST] Hi [/INST]"]
