"""The distinct words of a document, and whether a phrase of several words stands in it.

A word is a run of letters, digits and underscores of any script, with the accents and invisible
joiners that belong to them; so `he` is not in `the`, and `her_name` is one word. Apostrophes and
hyphens part words: `She's` has `she` in it. Letters with points between them are one word: `i.e.`
has no `i` in it, `U.S.` no `us`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

_JOINERS = "\u00ad\u200c\u200d\u2060"
_WORD = re.compile(rf"\b(?:[^\W\d_]\.){{2,}}|\w[\w\u0300-\u036f{_JOINERS}]*")
_FORM_WORD = re.compile(r"\w+")
_DROPPED = str.maketrans("", "", _JOINERS)


@dataclass(frozen=True, slots=True)
class Words:
    """The distinct words of a text.

    Attributes:
        text: as it is.
        lowered: every word in small letters.
        capitals: the words of two letters or more that somewhere stand in capitals alone, in small
            letters.
        small: the words that somewhere stand otherwise.
    """

    text: str
    lowered: frozenset[str]
    capitals: frozenset[str]
    small: frozenset[str]


def words_of(text: str) -> Words:
    """The words of a text.

    >>> sorted(words_of("She's in the U.S., _not_ here").lowered)
    ['here', 'in', 'not', 's', 'she', 'the', 'u.s.']
    """
    found = {word.translate(_DROPPED).strip("_") for word in set(_WORD.findall(text))}
    found.discard("")
    normal = {unicodedata.normalize("NFC", word) for word in found}
    shouted = {word for word in normal if len(word) > 1 and word.isupper()}
    capitals = frozenset(word.lower() for word in shouted)
    small = frozenset(word.lower() for word in normal - shouted)
    return Words(text, capitals | small, capitals, small)


@lru_cache(maxsize=4_096)
def form_words(form: str) -> tuple[str, ...]:
    """The words of a term's form, in small letters: `African-American` -> (african, american)."""
    return tuple(_FORM_WORD.findall(unicodedata.normalize("NFC", form).lower()))


def has_form(words: Words, form: str) -> bool:
    """Whether a word, or a phrase of several words, stands in the text, capitals or not.

    The words of a phrase may be parted by one space, hyphen, apostrophe or line break. A plus at a
    form's end has to be there: `LGBTQ+` is not in every text with `LGBTQ`.
    """
    parts = form_words(form)
    if not words.lowered.issuperset(parts):
        return False
    has_plus = form.endswith("+")
    if len(parts) == 1 and not has_plus:
        return True
    return _phrase(parts, "+" if has_plus else "").search(words.text) is not None


@lru_cache(maxsize=4_096)
def _phrase(parts: Sequence[str], end: str) -> re.Pattern[str]:
    joined = r"(?:[\s\-\u2010\u2011'\u2019]|\r\n)".join(map(re.escape, parts))
    # Underscores at either end are an emphasis, as for `words_of`.
    return re.compile(rf"(?<!\w)_*{joined}_*(?!\w){re.escape(end)}", re.IGNORECASE)
