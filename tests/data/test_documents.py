"""Documents from rows and from prose."""

from __future__ import annotations

import gzip
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arriero.data.documents import MAX_CHARACTERS, read_documents, split_prose
from arriero.records import UserError


def test_one_document_a_row(write_rows) -> None:
    path = write_rows("a.jsonl", [{"text": "One\n\ntwo "}, {"text": " "}, {"content": "Three"}])
    skipped: Counter[str] = Counter()
    assert list(read_documents(path, skipped=skipped)) == ["One\n\ntwo ", "Three"]
    assert skipped == {"empty text": 1}


def test_small_prose_is_one_document_without_the_lines_around_it(write_text) -> None:
    path = write_text("a.md", "\r\n\r\n  # One\r\n\r\ntwo\r\n\r\n")
    assert list(read_documents(path)) == ["  # One\n\ntwo"]


def test_prose_may_be_a_transcript(write_text) -> None:
    text = "Human: Who?\n\nAssistant: He."
    assert list(read_documents(write_text("a.txt", text))) == [text]


def test_a_folder_in_order_with_compression(tmp_path) -> None:
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"two"))
    (tmp_path / "a.rst").write_text("one")
    (tmp_path / "c.jsonl").write_text('{"text": "three"}')
    assert list(read_documents([tmp_path])) == ["one", "two", "three"]


def test_prose_is_cut_between_paragraphs() -> None:
    lines = ["aaaa", "", "bbbb", "bb", "", "", "cc"]
    assert list(split_prose(lines, 16)) == ["aaaa\n\nbbbb\nbb", "cc"]
    assert list(split_prose(lines, 8)) == ["aaaa", "bbbb\nbb", "cc"]


def test_a_paragraph_that_is_too_long_is_cut_between_words() -> None:
    assert list(split_prose(["aaa bbb ccc", "ddd"], 8)) == ["aaa bbb", "ccc\nddd"]
    assert list(split_prose(["a" * 20], 8)) == ["a" * 8, "a" * 8, "a" * 4]


def test_titles_start_documents() -> None:
    lines = [" ", " = Salt = ", " ", " Dug up . ", " ", " = = Trade = = ", " ", " Far . "]
    lines += [" ", " = Wool = ", " ", " Spun . "]
    first, second = split_prose(lines)
    assert first.splitlines()[0] == " = Salt = "
    assert first.endswith(" Far .")
    assert second == " = Wool = \n \n Spun ."


LINES = st.lists(st.text("ab  .", max_size=12), max_size=40)


@given(LINES, st.integers(1, 30))
def test_no_word_is_lost_and_no_piece_too_long(lines: list[str], most: int) -> None:
    pieces = list(split_prose(lines, most))
    assert all(0 < len(piece) <= most and piece.strip() for piece in pieces)
    assert "".join("".join(pieces).split()) == "".join("".join(lines).split())


def test_a_book_is_pieces_of_a_bounded_size(write_text) -> None:
    paragraph = "word " * 100
    pieces = list(read_documents(write_text("book.txt", f"{paragraph}\n\n" * 200)))
    assert len(pieces) == 6
    assert max(map(len, pieces)) <= MAX_CHARACTERS


def test_wrong_rows_are_named(write_rows, write_text) -> None:
    path = write_rows("a.jsonl", [{"text": "x"}, {"text": 3}])
    with pytest.raises(UserError, match=r"a\.jsonl:2: 'text' should be a string"):
        list(read_documents(path))
    path = write_rows("b.jsonl", [{"prompt": "x", "completion": "y"}])
    with pytest.raises(UserError, match=r"b\.jsonl:1: this row holds a dialog \(completion\)"):
        list(read_documents(path))
    with pytest.raises(UserError, match=r"empty\.txt holds no documents: it is empty"):
        list(read_documents(write_text("empty.txt", "\n \n")))
