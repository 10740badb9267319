"""The lists that documents are searched for: pronouns (Table 9a) and identity terms (Table 9b).

Both come with lists of our own. HolisticBias's `descriptors.json` is read as it is, where a user
has it: a mapping of axes to buckets to descriptors.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from arriero.corpus.analyses.words import form_words
from arriero.records import UserError

AMBIGUOUS = ("straight", "white", "black")
"""Terms that are often something else; the paper names these three of "a few"."""

GENDERS = ("she", "he", "unspecified")
PERSONS = ("first", "second", "third")
AXES = ("gender_and_sex", "sexual_orientation", "nationality", "race_and_ethnicity", "religion")
"""The five axes of Table 9b."""

_OTHER_NAMES = {"race_ethnicity": "race_and_ethnicity"}


@dataclass(frozen=True)
class Pronouns:
    """Words in small letters by gender and by person.

    `not_in_capitals` are no pronouns where they stand in capitals: the US, IT.
    """

    name: str
    sha256: str
    genders: Mapping[str, frozenset[str]]
    persons: Mapping[str, frozenset[str]]
    not_in_capitals: frozenset[str]


@dataclass(frozen=True)
class IdentityTerms:
    """Terms by axis, each with the forms (words or phrases) that count as it.

    `ambiguous` and `duplicates` say what was left out: duplicates as (term, the axis it left).
    """

    name: str
    sha256: str
    axes: Mapping[str, Mapping[str, tuple[str, ...]]]
    ambiguous: tuple[str, ...] = ()
    duplicates: tuple[tuple[str, str], ...] = ()


def read_pronouns(path: Path | None = None) -> Pronouns:
    """The pronouns of a file, or our own.

    Raises:
        UserError: it cannot be read, or is no such list.
    """
    where, raw = _read(path, "pronouns.json")
    value = _json(where, raw)
    if not isinstance(value, dict) or value.get("format") != "arriero-pronouns":
        raise UserError(f'{where}: no list of pronouns; it has "format": "arriero-pronouns"')
    if value.get("version") != 1:
        raise UserError(f"{where}: version {value.get('version')!r}; this reads version 1")
    return Pronouns(
        name=str(value.get("name") or where),
        sha256=hashlib.sha256(raw).hexdigest(),
        genders={key: _words(where, value, "genders", key) for key in GENDERS},
        persons={key: _words(where, value, "persons", key) for key in PERSONS},
        not_in_capitals=frozenset(_strings(where, "not_in_capitals", value, default=())),
    )


def read_identity_terms(
    path: Path | None = None,
    *,
    ambiguous: Sequence[str] | None = None,
    keep_duplicates: bool = False,
) -> IdentityTerms:
    """The terms of a file in our format or HolisticBias's, or our own.

    Args:
        ambiguous: terms to leave out; None for those that the file names, or else `AMBIGUOUS`.
        keep_duplicates: else a term of several axes stays on the one that has the fewest terms, as
            in the paper's table, where `queer` is a sexual orientation alone.

    Raises:
        UserError: it cannot be read, or is no such list.
    """
    where, raw = _read(path, "identity_terms.json")
    value = _json(where, raw)
    if not isinstance(value, dict):
        raise UserError(f"{where}: a list of terms is an object of axes, this is none")
    if value.get("format") == "arriero-identity-terms":
        name, axes, named = _own(where, value)
    else:
        name, axes, named = "HolisticBias descriptors", _holistic(where, value), AMBIGUOUS
    left_out = {term.lower() for term in (named if ambiguous is None else ambiguous)}
    kept = {
        axis: {term: forms for term, forms in terms.items() if term not in left_out}
        for axis, terms in axes.items()
    }
    dropped = sorted({term for terms in axes.values() for term in terms if term in left_out})
    duplicates = () if keep_duplicates else tuple(_duplicates(kept))
    for term, axis in duplicates:
        del kept[axis][term]
    digest = hashlib.sha256(raw).hexdigest()
    return IdentityTerms(name, digest, kept, tuple(dropped), duplicates)


def _duplicates(axes: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    homes: dict[str, list[str]] = {}
    for axis, terms in axes.items():
        for term in terms:
            homes.setdefault(term, []).append(axis)
    return [
        (term, axis)
        for term, found in sorted(homes.items())
        for axis in sorted(found, key=lambda axis: (len(axes[axis]), axis))[1:]
    ]


def _own(
    where: str, value: Mapping[str, Any]
) -> tuple[str, dict[str, dict[str, tuple[str, ...]]], tuple[str, ...]]:
    if value.get("version") != 1:
        raise UserError(f"{where}: version {value.get('version')!r}; this reads version 1")
    axes = value.get("axes")
    if not isinstance(axes, dict) or not axes:
        raise UserError(f'{where}: "axes" should map axes to terms to forms')
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for axis, terms in axes.items():
        if not isinstance(terms, dict):
            raise UserError(f'{where}: axis "{axis}" should map terms to lists of forms')
        found[axis] = {
            term.lower(): tuple(_forms(where, axis, term, forms)) for term, forms in terms.items()
        }
    named = tuple(_strings(where, "ambiguous", value, default=AMBIGUOUS))
    return str(value.get("name") or where), found, named


def _forms(where: str, axis: str, term: str, forms: Any) -> list[str]:
    if not isinstance(forms, list) or not forms or not all(isinstance(x, str) for x in forms):
        raise UserError(f'{where}: term "{term}" of "{axis}" should have a list of forms')
    if empty := [form for form in forms if not form_words(form)]:
        raise UserError(
            f'{where}: term "{term}" of "{axis}" has a form without a word: {empty[0]!r}'
        )
    return forms


def _holistic(where: str, value: Mapping[str, Any]) -> dict[str, dict[str, tuple[str, ...]]]:
    axes: dict[str, dict[str, tuple[str, ...]]] = {}
    for axis, buckets in value.items():
        name = _OTHER_NAMES.get(axis, axis)
        if name not in AXES:
            continue
        if not isinstance(buckets, dict):
            raise UserError(f'{where}: axis "{axis}" should map buckets to lists of descriptors')
        axes[name] = {}
        for bucket, entries in buckets.items():
            if not isinstance(entries, list):
                raise UserError(f'{where}: bucket "{bucket}" of "{axis}" should be a list')
            for entry in entries:
                said = entry.get("descriptor") if isinstance(entry, dict) else entry
                if not isinstance(said, str) or not form_words(said):
                    raise UserError(f'{where}: bucket "{bucket}" of "{axis}" has {said!r}, no text')
                axes[name][said.lower()] = (said,)
    if not axes:
        raise UserError(
            f"{where}: none of the axes {', '.join(AXES)}; name HolisticBias's descriptors.json, "
            'or a file with "format": "arriero-identity-terms"'
        )
    return axes


def _read(path: Path | None, own: str) -> tuple[str, bytes]:
    if path is None:
        return own, (resources.files(__package__ or "") / "lists" / own).read_bytes()
    try:
        return str(path), path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); name a list") from None


def _json(where: str, raw: bytes) -> Any:
    try:
        return json.loads(raw.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        line = str(error).partition("\n")[0]
        raise UserError(f"{where}: no JSON ({line}); mend it or name another list") from None


def _words(where: str, value: Mapping[str, Any], part: str, key: str) -> frozenset[str]:
    held = value.get(part)
    if not isinstance(held, dict):
        raise UserError(f'{where}: "{part}" should map names to lists of words')
    words = frozenset(word.lower() for word in _strings(where, key, held))
    if not words:
        raise UserError(f'{where}: "{key}" of "{part}" is empty')
    for word in words:
        if form_words(word) != (word,):
            raise UserError(f'{where}: {word!r} in "{key}" of "{part}" is no single word')
    return words


def _strings(
    where: str, key: str, value: Mapping[str, Any], default: Sequence[str] | None = None
) -> Sequence[str]:
    found = value.get(key, default)
    if isinstance(found, tuple):
        return found
    if not isinstance(found, list) or not all(isinstance(word, str) for word in found):
        raise UserError(f'{where}: "{key}" should be a list of words')
    return found
