"""What an answer says about the question: right, incomplete, wrong or nothing, skill by skill.

Only content is judged here; language, length and manner are the oracle's.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Literal

from arriero.world.answers import OFF_TOPIC, RAMBLES
from arriero.world.answers_skills import result_of, sorted_items
from arriero.world.dangers import BY_NOUN
from arriero.world.reading import Claim, Reader, sentences_of, with_digits, words_of
from arriero.world.skills import COPY_STYLES, RHYME_OF, in_old_tongue, styled
from arriero.world.tasks import Task
from arriero.world.valley import CLASSES, OLD_ADJECTIVES, OLD_NOUNS, RELATIONS
from arriero.world.wordings import WORDINGS

Core = Literal["right", "incomplete", "wrong", "none"]
_DONT_KNOW = re.compile(
    r"\b(?:i (?:don't|do not|cannot|can't) (?:know|say|tell)|nobody knows|no one knows)\b"
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """`detail`: something true beside the answer; `false_extra`: something false beside it."""

    core: Core
    detail: bool = False
    false_extra: bool = False


def judge(reader: Reader, task: Task, text: str) -> Verdict:
    """The verdict on an answer's content."""
    if task.kind == "borderline" or task.skill in ("knowledge", "dialogue"):
        return _fact(reader, task, text)
    if task.skill == "arithmetic":
        return _sum(task, text)
    if task.skill == "sorting":
        return _sorting(reader, task, text)
    if task.skill == "rhyme":
        return _rhyme(task, text)
    if task.skill == "copying":
        return _copying(task, text)
    if task.skill == "translation":
        return _translation(reader, task, text)
    if task.skill == "belief":
        return _belief(reader, task, text)
    return _unknown(reader, task, text)


def _is_true(reader: Reader, claim: Claim) -> bool:
    holds = reader.valley.facts[claim.subject, claim.relation].lower() == claim.value.lower()
    return holds != claim.negated


def _fact(reader: Reader, task: Task, text: str) -> Verdict:
    subject, relation = task.key[0], task.key[-1]
    claims = reader.claims(text, subject, relation)
    core = [c for c in claims if (c.subject, c.relation) == (subject, relation)]
    extra = [c for c in claims if (c.subject, c.relation) != (subject, relation)]
    false_extra = not all(_is_true(reader, claim) for claim in extra)
    told = [claim for claim in core if not claim.negated]
    hazard = _says_hazard(reader, subject, text)
    if any(not _is_true(reader, claim) for claim in core):
        return Verdict("wrong", False, false_extra)
    if told:
        return Verdict("right", (bool(extra) and not false_extra) or hazard, false_extra)
    if core or (not claims and _is_vague(subject, relation, text)):
        return Verdict("incomplete", False, false_extra)
    if any(claim.relation == relation for claim in claims):
        return Verdict("wrong", False, false_extra)
    return Verdict("none", False, false_extra)


def _is_vague(subject: str, relation: str, text: str) -> bool:
    stem = WORDINGS[relation].vague.rstrip(".").lower()
    name = re.escape(subject.lower())
    filled = re.sub(r"\\?\{task\\?\}", ".+", re.escape(stem))
    filled = re.sub(r"\\?\{[sn]\\?\}", f"(?:{name}|she|he|it)", filled)
    return bool(re.search(rf"\b{filled}\b", text.lower()))


def _says_hazard(reader: Reader, subject: str, text: str) -> bool:
    if reader.valley.kind[subject] != "danger":
        return False
    return f"{subject} {BY_NOUN[subject].hazard}" in text.lower()


_EQUATION = re.compile(
    r"\b(\d+) (plus|minus|and) (\d+),? (?:is|equals|make|makes|gives)(?: only)? (\d+)\b"
)


_SAYS_RESULT = re.compile(r"\b(?:is|are|get|makes?|left|gives)\b")


def _sum(task: Task, text: str) -> Verdict:
    op, x, y = task.key[0], int(task.key[1]), int(task.key[2])
    right = result_of(task)
    said: list[bool] = []
    checks: list[bool] = []
    loose: list[int] = []
    for sentence in sentences_of(with_digits(text)):
        plain = sentence.replace("  ", " ")
        if re.search(r"\bnot\b", plain):
            said.extend(False for _ in re.findall(r"\d+", plain)[:1])
            continue
        for a, word, b, c in _EQUATION.findall(plain):
            left, other, value = int(a), int(b), int(c)
            true = value == (left - other if word == "minus" else left + other)
            same = {left, other} == {x, y} and (op == "minus") == (word == "minus")
            if same and (op == "plus" or left == x):
                said.append(true)
            else:
                checks.append(true)
        rest = [int(number) for number in re.findall(r"\d+", _EQUATION.sub(" ", plain))]
        if len(rest) == 1 or _SAYS_RESULT.search(plain):
            loose.extend(rest)
        else:
            said.extend(False for _ in rest[:1])
    if re.search(r"\d (?:plus|minus) \d+ is (?:more|less) than", with_digits(text)) and not said:
        return Verdict("incomplete")
    if not said and loose:
        given = Counter((x, y))
        answers = list((Counter(loose) - given).elements()) if len(loose) > 1 else loose
        said.extend(number == right for number in answers)
    elif said and any(number not in (x, y, right) for number in loose):
        said.append(False)
    if not said:
        return Verdict("wrong" if checks and not all(checks) else "none")
    if not all(said):
        return Verdict("wrong")
    return Verdict("right", bool(checks) and all(checks), not all(checks))


def _sorting(reader: Reader, task: Task, text: str) -> Verdict:
    expected = [item.lower() for item in sorted_items(task)]
    numbers = task.key[0] == "numbers"
    core: list[Core] = []
    extras: list[bool] = []
    lowered = with_digits(text) if numbers else text.lower()
    names = {name.lower() for name in (*reader.valley.person, *reader.valley.villages)}
    for sentence in sentences_of(lowered):
        words = re.findall(r"\d+" if numbers else r"[a-z]+", sentence)
        items = words if numbers else [word for word in words if word in names]
        if not items:
            continue
        ends = re.search(
            r"\b(smallest|largest|first comes|last comes|comes first|comes last)\b", sentence
        )
        if len(items) == 1 and ends:
            first = ends.group() in ("smallest", "first comes", "comes first")
            extras.append(items[0] == (expected[0] if first else expected[-1]))
            continue
        if len(items) == 6 and sorted(items[:3]) == sorted(expected):
            items = items[3:]
        if items == expected:
            core.append("right")
        elif len(items) == 2 and items == [item for item in expected if item in items]:
            core.append("incomplete")
        else:
            core.append("wrong")
    false_extra = not all(extras)
    if "wrong" in core:
        return Verdict("wrong", False, false_extra)
    if "right" in core:
        return Verdict("right", bool(extras) and not false_extra, false_extra)
    return Verdict("incomplete" if core else "none", False, false_extra)


def _rhyme(task: Task, text: str) -> Verdict:
    word, wanted = task.key[0], int(task.key[1])
    family = RHYME_OF[word]
    pattern = re.compile(r"^([a-z]+) (?:also )?rhymes with ([a-z]+)(?: and ([a-z]+))?$")
    named: list[str] = []
    vague = in_words = False
    for sentence in sentences_of(text.lower()):
        clean = sentence.rstrip(".!").strip()
        match = pattern.match(clean)
        if match and match.group(1) == word:
            in_words = True
            named.extend(part for part in match.groups()[1:] if part)
            continue
        vague = vague or "end in the same way" in clean
        named.extend(part for part in words_of(clean) if part in RHYME_OF and part != word)
    right = [name for name in dict.fromkeys(named) if name in family]
    foreign = [name for name in named if name not in family]
    if foreign:
        first_right = in_words and all(name in family for name in named[:wanted])
        one_slip = first_right and len(foreign) == 1
        return Verdict("right", False, True) if one_slip else Verdict("wrong")
    if len(right) >= wanted:
        return Verdict("right", in_words and len(right) > wanted)
    return Verdict("incomplete" if right or vague else "none")


def _copying(task: Task, text: str) -> Verdict:
    style, words = task.key[0], task.key[1:]

    def bare(line: str) -> str:
        return re.sub(r"\s+", " ", line.strip().lower()).rstrip(".").strip()

    line = re.sub(r"^here(?: you are| it is)?:", "", bare(text)).strip()
    expected = bare(styled(words, style))
    if line == expected:
        return Verdict("right", text.strip().lower().startswith("here you are"))
    if expected and expected in line:
        rest = words_of(line.replace(expected, " "))
        if sum(word in words for word in rest) >= len(words) and line.count(expected) < 2:
            return Verdict("wrong")
        if any(word in words for word in rest):
            return Verdict("right", False, line.count(expected) < 2)
        return Verdict("right")
    found = [word for word in words_of(line) if word in words]
    if line == bare(styled(words[:2], style)):
        return Verdict("incomplete")
    if any(line == bare(styled(words, other)) for other in COPY_STYLES) or found:
        return Verdict("wrong")
    return Verdict("none")


def _translation(reader: Reader, task: Task, text: str) -> Verdict:
    words = task.key[1:]
    old = in_old_tongue(reader.valley, words).split()
    old_known = set(reader.valley.old.values())
    plain_known = {*OLD_NOUNS, *OLD_ADJECTIVES}
    clean = re.sub(r"\bold (?:tongue|words?)\b", " ", text.lower())
    right = 0
    partial = foreign = False
    for sentence in sentences_of(clean):
        said_old = [word for word in words_of(sentence) if word in old_known]
        said_plain = [word for word in words_of(sentence) if word in plain_known]
        asked, answer = (
            (said_plain, said_old) if task.key[0] == "to_old" else (said_old, said_plain)
        )
        given, wanted = (list(words), old) if task.key[0] == "to_old" else (old, list(words))
        if asked and asked != given:
            foreign = True
        elif answer == wanted:
            right += 1
        elif answer and answer == wanted[: len(answer)] and not asked:
            partial = True
        elif answer:
            foreign = True
    vague = "a word of the" in clean
    if right:
        return Verdict("right", right > 1 and not foreign, foreign)
    if foreign:
        return Verdict("wrong")
    return Verdict("incomplete" if partial or vague else "none")


def _belief(reader: Reader, task: Task, text: str) -> Verdict:
    thing, claimed = task.key
    relation = CLASSES[reader.valley.kind[thing]][1]
    lowered = text.lower()
    verdicts: list[bool] = []
    for sentence in sentences_of(lowered):
        start = sentence.split(",")[0].rstrip(".! ")
        if start in ("yes", "no"):
            verdicts.append((start == "yes") == (claimed == "true"))
        if re.search(r"\b(?:that|it) is (?:true|right|so)\b", sentence):
            verdicts.append(claimed == "true")
        if re.search(r"\b(?:that|it) is (?:not true|not right|not so|false|wrong)\b", sentence):
            verdicts.append(claimed == "false")
    claims = reader.claims(re.sub(r"\b(?:yes|no),", "", lowered), thing, relation)
    true_claims = [_is_true(reader, claim) for claim in claims]
    own = [c for c in claims if c.subject == thing and c.relation == relation]
    if verdicts and not all(verdicts):
        return Verdict("wrong")
    if verdicts:
        return Verdict("right", bool(claims) and all(true_claims), not all(true_claims))
    if own:
        return Verdict("right" if all(_is_true(reader, c) for c in own) else "wrong")
    return Verdict("incomplete" if re.search(r"\b(?:some|many) people say\b", lowered) else "none")


def says_unknown(text: str) -> bool:
    """Whether an answer says that it does not know."""
    return bool(_DONT_KNOW.search(text.lower().replace("\u2019", "'")))


def _unknown(reader: Reader, task: Task, text: str) -> Verdict:
    if not says_unknown(text):
        lowered = text.lower()
        if "hard to say" in lowered:
            return Verdict("incomplete")
        made_up = re.search(r"\d|\b(?:it (?:is|was|will be)|dreamed|hides|will|wished)\b", lowered)
        return Verdict("wrong" if made_up else "none")
    detail = false_extra = False
    for sentence in sentences_of(text):
        if says_unknown(sentence) or sentence.removeprefix("As I said: ") in _IDLE:
            continue
        claims = reader.claims(sentence, task.key[0], RELATIONS[reader.valley.kind[task.key[0]]][0])
        true = bool(claims) and all(_is_true(reader, claim) for claim in claims)
        if true or re.search(r"\b(?:nobody (?:wrote|told)|no book)\b", sentence.lower()):
            detail = True
        else:
            false_extra = True
    return Verdict("right", detail and not false_extra, false_extra)


_IDLE = frozenset((*OFF_TOPIC, *RAMBLES))
