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
    begins = min(match.begin, _AROUND), min(match.place - begin, _AROUND)
    document = folder.tokens[
        match.place - begins[1] : min(end, match.place + match.length + _AROUND)
    ].tolist()
    own = list(sample[match.begin - begins[0] : match.end + _AROUND])
    cut_before = begins[0] < match.begin, begins[1] < match.place - begin
    cut_after = match.end + _AROUND < len(sample), match.place + match.length + _AROUND < end
    sides = [
        _pieces(ids, start, match.length, different, tokenizer)
        for ids, start in zip((own, document), begins, strict=True)
    ]
    for side, before, after in zip(sides, cut_before, cut_after, strict=True):
        side[:0] = [("… ", "around")] if before else []
        side += [(" …", "around")] if after and side[-1][0] != " …" else []
    return {"sample": sides[0], "corpus": sides[1]}


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
        if place < len(marks):
            text = text.rstrip("\ufffd")  # perhaps the beginning of a letter: it comes with its end
        pieces.append((text[len(shown) :], kind))
        shown = text
    if len(marks) < len(ids):
        pieces.append((" …", "around"))
    return [piece for piece in pieces if piece[0]]
