"""Text as it is drawn: its pieces joined are the whole, and no stop string ever shows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as HuggingFaceTokenizer
from tokenizers import decoders, models, pre_tokenizers, trainers

from arriero.inference.text import TextStream
from arriero.tokenizer import Tokenizer, load_tokenizer, train_tokenizer

TEXTS = ["the llama walks over the pass", "  two  spaces\n\tand a tab", "niño 山 道 24", "x </s> y"]
SNIPPETS = ["a", "😀", "山", "é", " ", "  ", "\n", "the llama", "\ufffd", "👩‍👩‍👧", "INST", "x"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(TEXTS * 40, path, 330)
    load_tokenizer(path).save(path, model_max_length=64)
    return path


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Tokenizer:
    return load_tokenizer(folder)


class Raw:
    """tokenizer.json decoded by Hugging Face's own decoder."""

    control = (0, 1, 2)
    vocab_size = 330

    def __init__(self, folder: Path) -> None:
        self._tokenizer = HuggingFaceTokenizer.from_file(str(folder / "tokenizer.json"))

    def decode(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode(list(ids), skip_special_tokens=True)


class ByteLevel:
    """A vocabulary of bytes and of merges over the borders of characters, as Llama 3 has."""

    control = ()

    def __init__(self) -> None:
        self._tokenizer = HuggingFaceTokenizer(models.BPE())
        self._tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(use_regex=False)
        self._tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=340, initial_alphabet=alphabet, show_progress=False
        )
        self._tokenizer.train_from_iterator(["山道é😀 llama 👩‍👩‍👧\n" * 9, *TEXTS], trainer)
        self.vocab_size = self._tokenizer.get_vocab_size()

    def decode(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode(list(ids))


@pytest.fixture(scope="module")
def byte_level() -> ByteLevel:
    return ByteLevel()


def pieces(stream: TextStream, ids: Sequence[int]) -> list[str]:
    return [*(stream.feed(token) for token in ids), stream.finish()]


def cut(text: str, stop: Sequence[str]) -> tuple[str, bool]:
    """Slowly: the text before the stop string that ends first, character by character."""
    for end in range(1, len(text) + 1):
        begins = [end - len(one) for one in stop if text[:end].endswith(one)]
        if begins:
            return text[: min(begins)], True
    return text, False


@st.composite
def drawn_ids(draw: st.DrawFn, tokenizer: Tokenizer) -> list[int]:
    """Ids as a bad model may draw them: text, any ids, broken bytes, special ids."""
    any_id = st.integers(0, tokenizer.vocab_size - 1)
    byte = st.sampled_from(sorted(tokenizer.byte_ids))
    special = st.sampled_from([0, 1, 2])
    text = st.lists(st.sampled_from(SNIPPETS), max_size=12).map(
        lambda parts: tokenizer.encode("".join(parts))
    )
    runs = st.one_of(
        text,
        st.lists(any_id, max_size=12),
        st.lists(byte, max_size=40),
        st.lists(special, max_size=40),
    )
    return [token for run in draw(st.lists(runs, max_size=5)) for token in run]


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_the_pieces_are_the_whole_up_to_the_stop(data: st.DataObject, tokenizer: Tokenizer) -> None:
    ids = data.draw(drawn_ids(tokenizer))
    whole = tokenizer.decode(ids).lstrip()
    some = st.integers(0, max(0, len(whole) - 1))
    found = data.draw(st.lists(st.tuples(some, st.integers(1, 6)), max_size=3))
    stop = [whole[begin : begin + count] or "?" for begin, count in found]
    expected, is_stopped = cut(whole, stop)
    stream = TextStream(tokenizer, stop)
    said = pieces(stream, ids)
    assert "".join(said) == expected.rstrip(" ")
    assert stream.is_stopped == is_stopped
    assert stream.length == len(expected)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_continuation_keeps_every_space(data: st.DataObject, tokenizer: Tokenizer) -> None:
    before = [*data.draw(drawn_ids(tokenizer)), *tokenizer.encode("ab")]
    ids = data.draw(drawn_ids(tokenizer))
    said = "".join(pieces(TextStream(tokenizer, after=before[-4:]), ids))
    assert tokenizer.decode(before) + said == tokenizer.decode(before + ids)


@settings(max_examples=300, deadline=None)
@given(parts=st.lists(st.sampled_from([s for s in SNIPPETS if s != "\ufffd"]), max_size=20))
def test_any_text_through_hugging_faces_decoder(
    parts: list[str], tokenizer: Tokenizer, folder: Path
) -> None:
    """Its decoder makes nothing of a whole character while the next one has begun."""
    raw, ids = Raw(folder), tokenizer.encode("".join(parts))
    assert "".join(pieces(TextStream(raw), ids)) == raw.decode(ids).lstrip().rstrip(" ")


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_ids_through_a_byte_level_decoder(data: st.DataObject, byte_level: ByteLevel) -> None:
    """Pieces of such a vocabulary hold several bytes, whole characters and parts of others."""
    token = st.integers(0, byte_level.vocab_size - 1)
    ids = data.draw(st.lists(token, max_size=60))
    said = "".join(pieces(TextStream(byte_level), ids))
    assert said == byte_level.decode(ids).lstrip().rstrip(" ")


def test_what_is_held_back(tokenizer: Tokenizer) -> None:
    byte_of = {tokenizer.decode([i]): i for i in tokenizer.byte_ids}
    smile = [i for i in tokenizer.encode("x😀") if i in tokenizer.byte_ids]
    assert len(smile) == 4, "no piece of its own: bytes"
    x = tokenizer.encode("x")
    assert pieces(TextStream(tokenizer), [*x, *smile]) == [
        *["" if n < len(x) - 1 else "x" for n in range(len(x))],
        "",
        "",
        "",
        "😀",
        "",
    ]
    newline = byte_of["\n"]
    stream = TextStream(tokenizer, ["\n\n"])
    assert stream.feed(x[-1]) == "x"
    assert (stream.feed(newline), stream.is_stopped) == ("", False)
    assert stream.feed(newline) == ""
    assert stream.is_stopped
    assert (stream.feed(x[-1]), stream.finish(), stream.length) == ("", "", 1)


def test_a_stop_that_only_began_is_said_at_the_end(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("the llama wa")
    assert "".join(pieces(TextStream(tokenizer, ["walks"]), ids)) == "the llama wa"
    held = "".join(TextStream(tokenizer, ["walks"]).feed(token) for token in ids)
    assert not held.endswith("wa")


def test_the_stop_that_ends_first_counts(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("the llama walks over")
    stream = TextStream(tokenizer, ["llama walks over", "wal", "alks"])
    assert "".join(pieces(stream, ids)) == "the llama"


def test_special_ids_are_not_said(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("the llama")
    with_special = [1, *[token for one in ids for token in (one, 0)], *[0] * 100, *ids]
    assert "".join(pieces(TextStream(tokenizer), with_special)) == "the llama the llama"


def test_a_token_of_a_long_answer_costs_no_more(tokenizer: Tokenizer) -> None:
    """Ten times the tokens in far less than a hundred times the time: broken bytes, stops too."""

    def seconds(ids: list[int]) -> float:
        began = time.perf_counter()
        pieces(TextStream(tokenizer, ["never said", "\n\n\n"]), ids)
        return time.perf_counter() - began

    broken = next(i for i in tokenizer.byte_ids if tokenizer.decode([i]) == "\ufffd")
    for ids in (tokenizer.encode("the llama walks over the pass "), [broken] * 8, [0] * 8):
        short, long = (ids * (1 + count // len(ids)) for count in (400, 4000))
        assert seconds(long) < 30 * min(seconds(short) for _ in range(3))
