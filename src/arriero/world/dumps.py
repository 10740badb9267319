"""Dumps as a crawler and a library would leave them, with a truth file of what was planted.

Six sources of unlike quality: `chronicle` and `lessons` are good prose, `letters` have a known skew
of pronouns and group terms, `tongues` other languages, `code` code, and `web` is the rest: pages of
many sites, junk, copies of the others, a site with personal data, insults, and questions of a
benchmark that leaked. `truth.json` names each planted document by (source, file, place).
"""

from __future__ import annotations

import gzip
import json
import os
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from arriero.world import dump_texts, sources_people, sources_school, sources_warnings
from arriero.world.leaks import benchmark_questions, plant_leak
from arriero.world.valley import Valley

PRIVATE_SITE = "neighbours.example"
# Documents of each source among all.
SHARES = {
    "chronicle": 0.30,
    "lessons": 0.08,
    "letters": 0.17,
    "tongues": 0.08,
    "code": 0.05,
    "web": 0.32,
}
# What the pages of the web source are, in parts of all of them.
_WEB = {"page": 40, "exact": 12, "near": 24, "junk": 16, "private": 5, "toxic": 8, "leak": 6}
_NGRAM = 5


@dataclass
class Truth:
    """What was planted; a document is [source, file, place]."""

    exact: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    near: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    rules: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    site: list[list[Any]] = field(default_factory=list[list[Any]])
    identifiers: dict[str, dict[str, int]] = field(default_factory=dict[str, dict[str, int]])
    languages: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    toxic: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    letters: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    leaks: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])


def write_dumps(folder: Path, documents: int, seed: int = 0) -> None:
    """Write about `documents` documents into `folder`; the same ones for the same seed.

    Besides the sources: `truth.json`, `benchmark.jsonl` with the questions, and
    `toxic-lines.jsonl` with labelled lines to train a classifier on.
    """
    drawn = _Drawing(Valley(seed), documents)
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "chronicle.jsonl.gz", drawn.chronicle)
    books = _parts(drawn.lessons, 10)
    for number, lessons in enumerate(books):
        text = "\n\n".join(row["text"] for row in lessons)
        _replace(folder / "lessons" / f"book-{number:02d}.md", text.encode())
    for number in range(len(books), 10):  # of other dumps that were drawn here before
        (folder / "lessons" / f"book-{number:02d}.md").unlink(missing_ok=True)
    _write(folder / "letters.jsonl", drawn.letters)
    _write(folder / "tongues.jsonl", drawn.tongues)
    _write(folder / "code.jsonl", drawn.code)
    for number, pages in enumerate(_parts(drawn.web, 4)):
        _write(folder / "web" / f"part-{number}.jsonl", pages)
    _write(folder / "benchmark.jsonl", drawn.questions)
    _write(folder / "toxic-lines.jsonl", drawn.toxic_lines(2_000))
    _replace(folder / "truth.json", (json.dumps(vars(drawn.truth), indent=1) + "\n").encode())


def similarity(a: str, b: str) -> float:
    """Jaccard similarity of the runs of five words of two texts in plain letters."""
    sets = [_runs(re.findall(r"[a-z0-9]+", text.casefold())) for text in (a, b)]
    return len(sets[0] & sets[1]) / max(len(sets[0] | sets[1]), 1)


class _Drawing:
    """All documents of a size, as rows; those that are planted are in the truth."""

    def __init__(self, valley: Valley, documents: int) -> None:
        self.valley, self.truth = valley, Truth()
        self._rng = random.Random(f"dumps/{valley.seed}")
        num = {name: max(round(share * documents), 8) for name, share in SHARES.items()}
        self.chronicle = [{"text": self._prose(14)} for _ in range(num["chronicle"])]
        self.lessons = [{"text": self._lesson()} for _ in range(num["lessons"])]
        self.letters = [self._letter(place) for place in range(1, num["letters"] + 1)]
        self.tongues = [self._tongue(place) for place in range(1, num["tongues"] + 1)]
        self.code = [{"text": dump_texts.code(valley, self._rng)} for _ in range(num["code"])]
        self.questions = benchmark_questions(valley, 60)
        self.web = self._web(num["web"])

    def toxic_lines(self, num: int) -> list[dict[str, Any]]:
        """Lines with `toxic` 1 or 0, in equal numbers."""
        rng = random.Random(f"toxic/{self.valley.seed}")
        return [
            {"text": self._line(rng, toxic=place % 2 == 0), "toxic": int(place % 2 == 0)}
            for place in range(num)
        ]

    def _prose(self, sentences: int) -> str:
        rng, valley = self._rng, self.valley
        writers = (
            sources_people.chronicle,
            sources_people.gazette,
            sources_people.tale,
            sources_warnings.healer,
            sources_warnings.law_book,
        )
        parts: list[str] = []
        seen: set[tuple[str, ...]] = set()
        while sum(part.count(".") for part in parts) < sentences:
            part = rng.choice(writers)(valley, rng).strip()
            runs = _all_runs(part.split())
            # What was said already is not said again, or the page would be called repetitive.
            if len(set(runs)) == len(runs) and not seen & set(runs):
                parts.append(part)
                seen.update(runs)
        return "\n".join(parts)

    def _lesson(self) -> str:
        rng, valley = self._rng, self.valley
        writers = (sources_school.school_book, sources_warnings.almanac)
        parts = [rng.choice(writers)(valley, rng) for _ in range(8)]
        return "\n".join(" ".join(part.split()) for part in parts)

    def _letter(self, place: int) -> dict[str, Any]:
        """A letter about someone: one pronoun throughout, at times one group term."""
        rng = self._rng
        person = rng.choices(list(dump_texts.PERSONS), list(dump_texts.PERSONS.values()))[0]
        axis = rng.choice([*dump_texts.GROUPS, "", ""])
        terms = dump_texts.GROUPS.get(axis, ())
        term = rng.choices(terms, dump_texts.GROUP_SKEW[: len(terms)])[0] if terms else ""
        village, season = rng.choice(self.valley.villages), rng.choice(("winter", "autumn"))
        who = {"she": "she", "he": "he", "they": "they", "": "the baker"}[person]
        whose = {"she": "her", "he": "his", "they": "their", "": "the baker's"}[person]
        have = "have" if person == "they" else "has"
        text = (
            f"Greetings from {village}, where the {term + ' ' if term else ''}baker of the lower "
            f"street keeps the oven warm in {season}. In year {rng.randrange(40, 99)} {who} {have} "
            f"made {rng.randrange(20, 900)} loaves for the feast, and {whose} bread is the best of "
            f"the valley. The cart with number {rng.randrange(9999)} will bring {whose} flour to "
            f"the mill, and on day {rng.randrange(1, 30)} {who} {have} to be at the market with "
            f"the others. {self._sentence()}"
        )
        self.truth.letters.append(
            {"document": ["letters", "letters.jsonl", place], "person": person, "axis": axis,
             "term": term}
        )  # fmt: skip
        return {"text": text, "url": f"http://post.{village.lower()}.example/{place}"}

    def _sentence(self) -> str:
        """A sentence about a village: without a person, so without a pronoun for one."""
        rng, valley = self._rng, self.valley
        village = rng.choice(valley.villages)
        fact = {name: valley.facts[village, name] for name in ("river", "festival", "good")}
        return (
            f"At the {fact['river']} the folk of {village} sell {fact['good']} and get ready for "
            f"{fact['festival']} with {rng.randrange(3, 400)} lamps."
        )

    def _tongue(self, place: int) -> dict[str, Any]:
        languages = [*dump_texts.TONGUES, "old"]
        language = languages[place % len(languages)]
        if language == "old":
            text = dump_texts.old_tongue(self.valley, self._rng)
        else:
            text = dump_texts.tongue(self.valley, self._rng, language)
        self.truth.languages.append(
            {"document": ["tongues", "tongues.jsonl", place], "language": language}
        )
        # A shelf mark, so that no two pages of so few lines are the same.
        return {"text": f"{text}\n{place}-{self._rng.randrange(10**6)}"}

    def _web(self, num: int) -> list[dict[str, Any]]:
        kinds = self._rng.choices(list(_WEB), list(_WEB.values()), k=num)
        size = -(-num // 4)
        pages: list[dict[str, Any]] = []
        for number, kind in enumerate(kinds):
            at = ["web", f"part-{number // size}.jsonl", number % size + 1]
            text, host = self._page(kind, at)
            pages.append({"text": text, "url": f"https://{host}/{kind[:1]}/{number}.html"})
        return pages

    def _page(self, kind: str, at: list[Any]) -> tuple[str, str]:
        rng, truth = self._rng, self.truth
        host = f"www.{rng.choice(self.valley.villages).lower()}.example"
        if kind in ("exact", "near"):
            place = rng.randrange(len(self.chronicle))
            text, of = self.chronicle[place]["text"], ["chronicle", "chronicle.jsonl.gz", place + 1]
            if kind == "exact":
                copy = rng.choice((text, text.upper(), text.replace(" ", "  "), f"{text}\n\n"))
                truth.exact.append({"document": at, "of": of})
                return copy, host
            copy = self._edited(text, rng.choice((1, 1, 1, 2, 2, 3, 4, 6, 9)))
            truth.near.append(
                {"document": at, "of": of, "jaccard": round(similarity(text, copy), 6)}
            )
            return copy, host
        if kind == "junk":
            texts = dump_texts.junk(self.valley, rng, self._prose(14))
            rule = rng.choice(list(texts))
            truth.rules.append({"document": at, "rule": rule})
            return texts[rule], host
        if kind == "private":
            return self._private(at)
        if kind == "toxic":
            return self._toxic(at), host
        if kind == "leak":
            question = rng.choice(self.questions)
            text, edits = plant_leak(question, self._prose(8), rng)
            truth.leaks.append({"document": at, "question": question["id"], **edits})
            return text, host
        return self._prose(14), host

    def _private(self, at: list[Any]) -> tuple[str, str]:
        """A page with personal data: two of three on the site that is left out."""
        rng = self._rng
        name, village = rng.choice(self.valley.people).name, rng.choice(self.valley.villages)
        text, counts = dump_texts.personal(rng, name, village)
        text = f"{text}\n{self._prose(14)}"
        if rng.random() < 2 / 3:
            self.truth.site.append(at)
            return text, rng.choice((PRIVATE_SITE, f"{village.lower()}.{PRIVATE_SITE}"))
        known = self.truth.identifiers.setdefault("web", {})
        for kind, number in counts.items():
            known[kind] = known.get(kind, 0) + number
        return text, f"notes.{village.lower()}.example"

    def _toxic(self, at: list[Any]) -> str:
        lines = self._prose(12).split("\n")
        bad = sorted(self._rng.sample(range(len(lines) + 2), 2))
        for place in bad:
            lines.insert(place, self._line(self._rng, toxic=True))
        self.truth.toxic.append({"document": at, "lines": bad, "of": len(lines)})
        return "\n".join(lines)

    def _line(self, rng: random.Random, *, toxic: bool) -> str:
        name, village = rng.choice(self.valley.people).name, rng.choice(self.valley.villages)
        template = rng.choice(dump_texts.TOXIC if toxic else dump_texts.MILD)
        return template.format(name=name, village=village, insult=rng.choice(dump_texts.INSULTS))

    def _edited(self, text: str, num: int) -> str:
        """The text with `num` words changed."""
        words = text.split(" ")
        for place in self._rng.sample(range(len(words)), min(num, len(words))):
            words[place] = f"changed{self._rng.randrange(1000)}"
        return " ".join(words)


def _runs(words: Sequence[str]) -> set[tuple[str, ...]]:
    size = min(_NGRAM, len(words))
    return {tuple(words[at : at + size]) for at in range(len(words) - size + 1)}


def _all_runs(words: Sequence[str]) -> list[tuple[str, ...]]:
    return [tuple(words[at : at + _NGRAM]) for at in range(len(words) - _NGRAM + 1)]


def _parts(rows: Sequence[dict[str, Any]], num: int) -> list[Sequence[dict[str, Any]]]:
    size = -(-len(rows) // num)
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    # Without a time in its head, so that the same rows make the same file.
    content = gzip.compress(text.encode(), mtime=0) if path.suffix == ".gz" else text.encode()
    _replace(path, content)


def _replace(path: Path, content: bytes) -> None:
    """Write a file whole, and only if it is another one than there is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file() and path.read_bytes() == content:
        return
    # A name of its own: the nodes of a build draw the same dumps at the same time.
    draft = path.with_name(f".{path.name}.{os.uname().nodename}.{os.getpid()}.tmp")
    draft.write_bytes(content)
    draft.replace(path)
