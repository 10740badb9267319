"""A bounded part of a document, for what would take too long on all of it."""

from __future__ import annotations

PIECES = 3
PIECE_CHARACTERS = 400


def excerpt(text: str) -> str:
    """All of a short text; of a long one three pieces of 400 characters: beginning, middle, end.

    Pieces are whole lines or words where there are such within the piece, and parted by a line
    break. So a language is told by at most 1,200 characters, and a preface alone does not decide.

    >>> excerpt("short")
    'short'
    """
    if len(text) <= PIECES * PIECE_CHARACTERS:
        return text
    last = len(text) - PIECE_CHARACTERS
    starts = [last * place // (PIECES - 1) for place in range(PIECES)]
    return "\n".join(_trimmed(text, start, start + PIECE_CHARACTERS) for start in starts)


def _trimmed(text: str, start: int, end: int) -> str:
    """A piece without the parts of words at its two ends."""
    piece = text[start:end]
    if start > 0 and not text[start - 1].isspace():
        piece = _after_first_space(piece)
    if end < len(text) and not text[end].isspace():
        piece = _after_first_space(piece[::-1])[::-1]
    return piece.strip("\r\n")


def _after_first_space(piece: str) -> str:
    """All after the first white space, if it lies in the first quarter; else all."""
    for place, letter in enumerate(piece[: len(piece) // 4]):
        if letter.isspace():
            return piece[place + 1 :]
    return piece
