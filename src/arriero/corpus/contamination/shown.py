"""A match for the eye: both texts, cut where they begin to differ and to agree."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from arriero.corpus.contamination.parts import TokenFolder
from arriero.corpus.contamination.search import Match
from arriero.tokenizer.tokenizer import Tokenizer

# A piece of text and what it is: "same" or "different" inside the match, "around" it.
Piece = tuple[str, str]

# Tokens that are shown before and after a match, and of a match.
_AROUND, _MOST = 40, 600


def differences(match: Match, sample: Sequence[int], folder: TokenFolder) -> list[int]:
    """The tokens of the sample, inside a match, that differ from the corpus's."""
    corpus = folder.tokens[match.place : match.place + match.length].tolist()
    own = sample[match.begin : match.end]
    return [match.begin + k for k, (a, b) in enumerate(zip(own, corpus, strict=True)) if a != b]


def passage(
    match: Match, sample: Sequence[int], folder: TokenFolder, tokenizer: Tokenizer
) -> dict[str, list[Piece]]:
    """The pieces of the `sample` and of the `corpus` document, with some text around the match."""
    different = {place - match.begin for place in differences(match, sample, folder)}
    begin, end = folder.bounds(folder.document_of(match.place))
    low, high = max(begin, match.place - _AROUND), min(end, match.place + match.length + _AROUND)
    document = folder.tokens[low:high].tolist()
    start = max(0, match.begin - _AROUND)
    own = list(sample[start : match.end + _AROUND])
    return {
        "sample": _pieces(own, match.begin - start, match.length, different, tokenizer),
        "corpus": _pieces(document, match.place - low, match.length, different, tokenizer),
    }


def _pieces(
    ids: Sequence[int], begin: int, length: int, different: set[int], tokenizer: Tokenizer
) -> list[Piece]:
    def mark(place: int) -> str:
        inside = 0 <= place - begin < length
        return ("different" if place - begin in different else "same") if inside else "around"

    marks = [mark(place) for place in range(len(ids))][: begin + _MOST]
    pieces: list[Piece] = []
    # A token's text depends on those before it: spaces at a beginning, bytes of one letter.
    shown, place = "", 0
    for kind, run in groupby(marks):
        place += len(list(run))
        text = tokenizer.decode(ids[:place])
        while text.endswith("\ufffd") and place < len(marks) and not text.startswith(shown):
            text = text[:-1]
        pieces.append((text[len(shown) :], kind))
        shown = text
    if len(marks) < len(ids):
        pieces.append((" …", "around"))
    return [piece for piece in pieces if piece[0]]
