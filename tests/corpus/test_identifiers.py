"""Personal identifiers: what is found, what is not, and what is left after masking."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arriero.corpus.config import IDENTIFIERS
from arriero.corpus.identifiers import luhn, mask_identifiers

FOUND = [
    ("ann.lee+x@mail.example.org", "email"),
    ("jörg@bücher.example", "email"),
    ("4111 1111 1111 1111", "card"),
    ("5500-0000-0000-0004", "card"),
    ("378282246310005", "card"),
    ("+49 30 1234567", "phone"),
    ("+1 (555) 123-4567", "phone"),
    ("(555) 123-4567", "phone"),
    ("555-123-4567", "phone"),
    ("030 123 4567", "phone"),
    ("192.168.0.254", "ip"),
    ("2001:db8::8a2e:370:7334", "ip"),
    ("221b Baker Street", "address"),
    ("12 Long Hill Road, Greenfield, MA 01301", "address"),
]
NOT_FOUND = [
    "a @ b",
    "4111 1111 1111 1112",  # the last digit does not check
    "1234567890123456",
    "999.1.1.1",
    "1.2.3.4.5",
    "12:30:45",
    "chapter 3.14.15",
    "in 1984 and 2001",
    "10 000 000 people",
    "the Road is long",
    "std::vector",
    "2026-12-01",
]


@pytest.mark.parametrize(("written", "kind"), FOUND)
def test_found_and_masked(written: str, kind: str) -> None:
    text, counts = mask_identifiers(f"It says {written}, and more.", IDENTIFIERS)
    assert counts == {kind: 1}
    assert text == f"It says <{kind}>, and more."


@pytest.mark.parametrize("written", NOT_FOUND)
def test_not_found(written: str) -> None:
    assert mask_identifiers(f"It says {written} and more", IDENTIFIERS)[1] == {}


def test_only_what_is_asked_for_is_masked() -> None:
    text = "ann@example.org 10.0.0.1"
    assert mask_identifiers(text) == (text, {"email": 1, "ip": 1})
    assert mask_identifiers(text, ["ip"])[0] == "ann@example.org <ip>"


def test_luhn_by_hand() -> None:
    # 79927398713: 3 + (1*2) + 7 + (8*2 - 9) + 9 + (3*2) + 7 + (2*2) + 9 + (9*2 - 9) + 7 = 70
    assert luhn("79927398713")
    assert not any(luhn(f"7992739871{digit}") for digit in "012456789")


@given(st.text(max_size=200))
def test_any_text_is_taken(text: str) -> None:
    masked, counts = mask_identifiers(text, IDENTIFIERS)
    assert (masked == text) == (not counts)


def test_many_of_them_cost_no_square_of_their_number() -> None:
    begun = time.process_time()
    text = " ".join(f"user{number}@example.org 10.0.{number % 250}.1" for number in range(20_000))
    assert mask_identifiers(text)[1] == {"email": 20_000, "ip": 20_000}
    assert time.process_time() - begun < 5  # by comparing all with all: a minute
