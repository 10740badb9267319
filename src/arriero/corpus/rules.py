"""Quality rules: each a pure function of a text that says what is wrong, or nothing.

They are those of Gopher (Rae et al. 2021, table A1) and two of C4 (Raffel et al. 2020, section
2.2). None judges what a text says: toxic text is measured, never removed (section 4.1). The first
rule that objects removes the document and counts it; thresholds stand in the recipe.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property

from arriero.corpus.config import RulesConfig

# Scripts written without spaces: each sign counts as a word.
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
)
_UNSPACED = re.compile(f"[{UNSPACED}]")
_WORD_OR_SIGN = re.compile(f"[{UNSPACED}]|[^\\s{UNSPACED}]+")
_NO_LETTER = re.compile(r"(?<!\S)(?:[^\w\s]|[\d_])+(?!\S)")
_ONLY_SIGNS = re.compile(r"(?<!\S)[^\w\s]+(?!\S)")
_STRIPPED = "\"'“”‘’«»()[]{}.,;:!?…-–—*_"
_BULLETS = ("•", "-", "*", "‣", "◦", "·", "●")
_ELLIPSES = ("...", "…")
_SENTENCE_ENDS = re.compile(r"[.!?。！？]['\")\]”’]*(?=\s|$)")


class Page:
    """A text with what several rules ask of it, found once.

    Attributes:
        words: what stands between spaces; in scripts without spaces every sign.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        ascii_only = text.isascii()
        unspaced = not ascii_only and _UNSPACED.search(text) is not None
        self.words: list[str] = _WORD_OR_SIGN.findall(text) if unspaced else text.split()

    @cached_property
    def lines(self) -> list[str]:
        """Lines that are not empty, without the space around them."""
        return [line for raw in self.text.split("\n") if (line := raw.strip())]

    @cached_property
    def num_signs(self) -> int:
        """Words of signs alone, with neither letter nor digit."""
        return len(_ONLY_SIGNS.findall(self.text))

    @cached_property
    def num_words(self) -> int:
        """Words with a letter or a digit."""
        return len(self.words) - self.num_signs

    @cached_property
    def word_characters(self) -> int:
        """Characters of all words."""
        return sum(map(len, self.words))


Rule = Callable[[Page, RulesConfig], str]


def empty(page: Page, rules: RulesConfig) -> str:
    """No word at all."""
    del rules
    return "" if page.words else "no text"


def too_short(page: Page, rules: RulesConfig) -> str:
    """Fewer than `min_words` words."""
    return f"{page.num_words} words" if page.num_words < rules.min_words else ""


def too_long(page: Page, rules: RulesConfig) -> str:
    """More than `max_words` words."""
    most = rules.max_words
    return f"{page.num_words} words" if most and page.num_words > most else ""


def word_length(page: Page, rules: RulesConfig) -> str:
    """Words that are too short or too long in the mean, signs alone left out."""
    signs = sum(map(len, _ONLY_SIGNS.findall(page.text))) if page.num_signs else 0
    mean = (page.word_characters - signs) / max(page.num_words, 1)
    least, most = rules.min_mean_word_length, rules.max_mean_word_length
    # A sign of a script without spaces is a word by itself.
    if _UNSPACED.search(page.text) is not None:
        least = min(least, 1)
    return f"mean {mean:.2f}" if mean < least or (most and mean > most) else ""


def symbols(page: Page, rules: RulesConfig) -> str:
    """Too many hashes or ellipses to a word."""
    if not (most := rules.max_symbol_share):
        return ""
    hashes = page.text.count("#")
    ellipses = page.text.count("...") + page.text.count("…")
    share = max(hashes, ellipses) / max(len(page.words), 1)
    return f"{share:.2f} a word" if share > most else ""


def bullets(page: Page, rules: RulesConfig) -> str:
    """Nearly all lines begin with a bullet."""
    if not page.lines:
        return ""
    share = sum(line.startswith(_BULLETS) for line in page.lines) / len(page.lines)
    return f"{share:.0%} of the lines" if share > rules.max_bullet_lines else ""


def ellipses(page: Page, rules: RulesConfig) -> str:
    """Too many lines end in an ellipsis."""
    if not page.lines:
        return ""
    share = sum(line.endswith(_ELLIPSES) for line in page.lines) / len(page.lines)
    return f"{share:.0%} of the lines" if share > rules.max_ellipsis_lines else ""


def few_letters(page: Page, rules: RulesConfig) -> str:
    """Too few words with a letter."""
    without = len(_NO_LETTER.findall(page.text))
    share = 1 - without / max(len(page.words), 1)
    return f"{share:.0%} of the words" if share < rules.min_alphabetic_words else ""


def stop_words(page: Page, rules: RulesConfig) -> str:
    """Fewer than `min_stop_words` of the stop words: no running text of that language."""
    if not rules.min_stop_words:
        return ""
    wanted, found = set(rules.stop_words), set[str]()
    for word in page.words:
        plain = word.strip(_STRIPPED).lower()
        if plain in wanted:
            found.add(plain)
            if len(found) >= rules.min_stop_words:
                return ""
    return f"{len(found)} of them"


def repeated_lines(page: Page, rules: RulesConfig) -> str:
    """Too many lines that stood before."""
    return _repeated(page.lines, rules.max_repeated_lines)


def repeated_paragraphs(page: Page, rules: RulesConfig) -> str:
    """Too many paragraphs that stood before."""
    if "\n\n" not in page.text:
        return ""
    paragraphs = [part for raw in re.split(r"\n{2,}", page.text) if (part := raw.strip())]
    return _repeated(paragraphs, rules.max_repeated_paragraphs)


def top_ngrams(page: Page, rules: RulesConfig) -> str:
    """The commonest 2, 3 or 4 words take too many of the characters."""
    words, total = page.words, page.word_characters
    most = {2: rules.max_top_2gram, 3: rules.max_top_3gram, 4: rules.max_top_4gram}
    for size, limit in most.items():
        if limit >= 1 or len(words) < size:
            continue
        grams = Counter(zip(*(words[start:] for start in range(size)), strict=False))
        times = max(grams.values())
        if times < 2:
            return ""  # then none of more words comes twice either
        for gram, count in grams.items():
            if count == times and (share := count * sum(map(len, gram)) / total) > limit:
                return f"{share:.0%} in {' '.join(gram)!r}"
    return ""


def repeated_ngrams(page: Page, rules: RulesConfig) -> str:
    """Too many characters lie in runs of 5 or of 10 words that come more than once."""
    for size, limit in ((5, rules.max_repeated_5grams), (10, rules.max_repeated_10grams)):
        if limit < 1 and (share := _repeated_share(page, size)) > limit:
            return f"{share:.0%} in {size}-grams"
    return ""


def sentences(page: Page, rules: RulesConfig) -> str:
    """Fewer than `min_sentences` ends of sentences."""
    if not rules.min_sentences:
        return ""
    number = len(_SENTENCE_ENDS.findall(page.text))
    return f"{number} ends" if number < rules.min_sentences else ""


def phrases(page: Page, rules: RulesConfig) -> str:
    """Holds one of the phrases."""
    if not rules.phrases:
        return ""
    lowered = page.text.lower()
    return next((repr(phrase) for phrase in rules.phrases if phrase in lowered), "")


# In the order in which they are asked: the cheap ones first.
RULES: dict[str, Rule] = {
    "empty": empty,
    "too_short": too_short,
    "too_long": too_long,
    "word_length": word_length,
    "symbols": symbols,
    "bullets": bullets,
    "ellipses": ellipses,
    "few_letters": few_letters,
    "stop_words": stop_words,
    "phrases": phrases,
    "sentences": sentences,
    "repeated_lines": repeated_lines,
    "repeated_paragraphs": repeated_paragraphs,
    "top_ngrams": top_ngrams,
    "repeated_ngrams": repeated_ngrams,
}


def objection(text: str, rules: RulesConfig) -> tuple[str, str]:
    """The first rule that objects to a text, and what it found; two empty strings if none does."""
    page = Page(text)
    for name, rule in RULES.items():
        if detail := rule(page, rules):
            return name, detail
    return "", ""


def _repeated(parts: Sequence[str], limit: float) -> str:
    if len(parts) < 2 or limit >= 1:
        return ""
    share = 1 - len(set(parts)) / len(parts)
    return f"{share:.0%} seen before" if share > limit else ""


def _repeated_share(page: Page, size: int) -> float:
    """Share of the characters that lie in an n-gram seen before, each character counted once."""
    words = page.words
    grams = list(zip(*(words[start:] for start in range(size)), strict=False))
    if len(set(grams)) == len(grams):
        return 0.0
    seen: set[tuple[str, ...]] = set()
    covered = end = 0
    for start, gram in enumerate(grams):
        if gram in seen:
            covered += sum(map(len, words[max(start, end) : start + size]))
            end = start + size
        seen.add(gram)
    return covered / max(page.word_characters, 1)
