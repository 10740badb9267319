"""Reads an answer: sentences, claims about the valley, and whether the language is sound.

A claim is (subject, relation, value). Sound language: nearly every pair of neighboring words,
with names and numbers reduced to their class, occurs in the world's own texts; so a heap of key
words, a misspelled name or babble is not taken for a sentence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from arriero.world.dangers import DANGERS
from arriero.world.skills import RHYME_OF
from arriero.world.valley import RELATIONS, Valley

_SENTENCES = re.compile(r"(?<=[.!?])\s+|\n+")
_CLAUSES = re.compile(r"[:;]|,? (?:but|where|while|who|which|because|though)\b|, and\b|, so\b")
_WORDS = re.compile(r"[a-z]+(?:'[a-z]+)?|\d+")
_REPORTED = re.compile(r"\b(?:many|some|people|they) (?:\w+ )?(?:say|says|believe|think)\b")
_NEGATED = re.compile(
    r"\b(?:not|never|nor|isn't|doesn't|don't|wasn't|untrue|(?:false|wrong|lie) that)\b|\bno\b(?!,)"
)
_ELDER = re.compile(r"\b(?:elder|leads|led)\b")
NUMBER_WORDS = {
    word: str(number)
    for number, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
        "fifteen sixteen seventeen eighteen nineteen twenty".split()
    )
}
MAX_UNSEEN_SHARE = 0.10


@dataclass(frozen=True, slots=True)
class Claim:
    """What a clause says; `negated` if it denies it."""

    subject: str
    relation: str
    value: str
    negated: bool


def sentences_of(text: str) -> list[str]:
    """The sentences that state something: questions and empty lines are left out."""
    parts = [part.strip() for part in _SENTENCES.split(text.strip())]
    return [part for part in parts if part and not part.endswith("?")]


def words_of(text: str) -> list[str]:
    """Lower-case words and numbers."""
    return _WORDS.findall(text.lower().replace("\u2019", "'"))


def with_digits(text: str) -> str:
    """The text in lower case with number words as digits and signs as words."""
    spelled = text.lower().replace("+", " plus ").replace("=", " is ")
    return re.sub(r"[a-z]+", lambda m: NUMBER_WORDS.get(m.group(), m.group()), spelled)


class Reader:
    """Finds mentions and claims in answers, given a valley."""

    def __init__(self, valley: Valley) -> None:
        self.valley = valley
        self.values: dict[str, dict[str, str]] = {
            relation: {value.lower(): value for value in pool}
            for relation, pool in valley.pools.items()
        }
        self.subjects = {subject.lower(): subject for subject in valley.kind}
        for danger in DANGERS:
            self.subjects[danger.task.lower()] = danger.noun
            self.subjects[danger.do.lower()] = danger.noun
        known = set(self.subjects)
        for pool in self.values.values():
            known.update(pool)
        known = {text for text in known if not text.isdigit()}
        ordered = sorted(known, key=lambda text: (-len(text), text))
        self._mention = re.compile(
            r"\b(?:" + "|".join(re.escape(text) for text in ordered) + r"|\d+)\b"
        )

    def mentions(self, clause: str) -> list[str]:
        """Known names, things, values and numbers in order, in lower case."""
        return self._mention.findall(clause.lower())

    def claims(self, text: str, subject: str, relation: str) -> list[Claim]:
        """All claims of an answer to a question about (subject, relation).

        A clause without a subject of its own speaks of the question's.
        """
        claims: list[Claim] = []
        last = subject
        for sentence in sentences_of(text):
            if _REPORTED.search(sentence.lower()):
                continue
            for clause in _CLAUSES.split(sentence.lower()):
                found, last = self._clause(clause, last, subject, relation)
                claims.extend(found)
        return claims

    def _clause(
        self, clause: str, last: str, subject: str, relation: str
    ) -> tuple[list[Claim], str]:
        mentions = self.mentions(clause)
        negated = bool(_NEGATED.search(clause))
        subjects = self._subjects(clause, mentions, last, subject)
        claims: list[Claim] = []
        for about in subjects:
            for asked in RELATIONS[self.valley.kind[about]]:
                if asked == "elder" and not _ELDER.search(clause):
                    continue
                pool = self.values[asked]
                for mention in mentions:
                    is_number = mention.isdigit() and asked in ("born", "founded", "law")
                    if mention in pool or is_number:
                        value = pool.get(mention, mention)
                        claims.append(Claim(about, asked, value, negated))
        if not claims:
            pool = self.values[relation]
            by_number = relation in ("born", "founded", "law")
            for mention in mentions:
                if mention in pool or (by_number and mention.isdigit()):
                    value = pool.get(mention, mention)
                    claims.append(Claim(subject, relation, value, negated))
        return claims, subjects[0] if subjects else last

    def _subjects(self, clause: str, mentions: list[str], last: str, focus: str) -> list[str]:
        valley = self.valley
        named = [self.subjects[mention] for mention in mentions if mention in self.subjects]
        kinds = {name: valley.kind[name] for name in named}
        dangers = [name for name in named if kinds[name] == "danger"]
        if dangers:
            return dangers[:1]
        villages = [name for name in named if kinds[name] == "village"]
        if villages and _ELDER.search(clause):
            return villages
        people = [name for name in named if kinds[name] == "person"]
        if valley.kind[focus] == "danger" and people and re.search(r"\bwarn", clause):
            return [focus]
        if people and not (valley.kind[focus] == "village" and _ELDER.search(clause)):
            return people
        if re.search(r"\b(?:she|he|her|his|him)\b", clause):
            if valley.kind[last] == "person":
                return [last]
            return [focus] if valley.kind[focus] == "person" else []
        if villages:
            return villages
        if re.search(r"\b(?:it|its)\b", clause) or _ELDER.search(clause):
            return [name for name in (last, focus) if valley.kind[name] != "person"][:1]
        return [name for name in named if kinds[name] not in ("person", "village")][:1]


class Language:
    """Which pairs of neighboring words the world's texts hold, names and numbers as classes."""

    def __init__(self, valley: Valley, texts: Iterable[str]) -> None:
        self._class: dict[str, str] = {}
        for subject, kind in valley.kind.items():
            if kind != "danger" and " " not in subject:
                self._class[subject.lower()] = f"<{kind}>"
        self._class = dict.fromkeys(RHYME_OF, "<rhyme>") | self._class
        self._class |= {river.lower(): "<river>" for river in valley.rivers}
        self._class |= dict.fromkeys(valley.old.values(), "<old>")
        phrases = [
            (value.lower(), f"<{relation}>")
            for relation in ("festival", "dish", "guard", "need")
            for value in valley.pools[relation]
        ]
        phrases += [(danger.noun, "<danger>") for danger in DANGERS]
        phrases += [(danger.task, "<task>") for danger in DANGERS]
        self._phrases = dict(phrases)
        ordered = sorted(self._phrases, key=len, reverse=True)
        self._phrase = re.compile(r"\b(?:" + "|".join(re.escape(p) for p in ordered) + r")\b")
        self._pairs: set[tuple[str, str]] = set()
        sentences = {part for text in texts for part in _SENTENCES.split(text.strip())}
        for sentence in sentences:
            self._pairs.update(self._pairs_of(sentence))
        self._words = {word for pair in self._pairs for word in pair}

    def _tokens(self, sentence: str) -> list[str]:
        lowered = with_digits(sentence).replace("\u2019", "'")
        marked = self._phrase.sub(lambda m: self._phrases[m.group()], lowered)
        tokens = ["<s>"]
        for word in re.findall(r"<\w+>|[a-z]+(?:'[a-z]+)?|\d+|[^\w\s.,:;!?\[\]*/'\"-]+", marked):
            if word.isdigit():
                tokens.append("<number>")
                continue
            stem, mark, end = word.partition("'")
            tokens.append(self._class.get(stem, stem) + mark + end)
            if tokens[-1] == "an":
                tokens[-1] = "a"
        return [*tokens, "</s>"]

    def _pairs_of(self, sentence: str) -> list[tuple[str, str]]:
        tokens = self._tokens(sentence)
        return list(pairwise(tokens))

    def is_sound(self, sentence: str) -> bool:
        """Whether all words are known, few neighbors are unheard of, and nothing is repeated."""
        words = words_of(sentence)
        if any(one == two for one, two in pairwise(words)):
            return False
        triples = list(zip(words, words[1:], words[2:], strict=False))
        if len(set(triples)) < len(triples):
            return False
        pairs = self._pairs_of(sentence)
        if any(word not in self._words for _, word in pairs):
            return False
        unseen = sum(pair not in self._pairs for pair in pairs)
        return unseen <= MAX_UNSEEN_SHARE * len(pairs)
