"""Personal identifiers in text: mail, phone, card, IP and postal addresses; counted and masked.

Patterns find what is written as such; a name is no pattern. What they count is a measure of a
source, not a promise that it holds nothing else.
"""

from __future__ import annotations

import ipaddress
import re
from bisect import bisect
from collections.abc import Collection

_EMAIL = re.compile(
    r"(?<![\w.+%-])[\w.+%-]{1,64}@(?:[\w](?:[\w-]{0,61}\w)?\.)+[^\W\d_]{2,24}(?![\w-])"
)
_CARD = re.compile(r"(?<![\w.+-])(?:\d[ -]?){12,18}\d(?![\w-])(?!\.\d)")
_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?!\w)(?!\.\d)")
_IPV6 = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])")
# International, or North American with its three groups, or grouped with a leading nought.
_PHONE = re.compile(
    r"(?<![\w+.-])(?:"
    r"\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{1,4}(?:[ .-]?\d{2,4}){1,4}"
    r"|(?:1[ .-])?\(\d{3}\)[ .-]?\d{3}[ .-]\d{4}"
    r"|(?:1[ .-])?\d{3}[.-]\d{3}[.-]\d{4}"
    r"|0\d{1,4}[ /-]\d{2,4}(?:[ -]\d{2,4}){1,3}"
    r")(?![\w-])(?!\.\d)"
)
_ROADS = (
    r"Street|St|Road|Rd|Avenue|Ave|Lane|Ln|Drive|Dr|Boulevard|Blvd|Court|Ct|Square|Sq|Place|Pl"
    r"|Terrace|Way|Alley|Row"
)
_ADDRESS = re.compile(
    rf"(?<![\w.,-])\d{{1,5}}[A-Za-z]? (?:[A-Z][\w'’]+ ){{1,3}}(?:{_ROADS})\b\.?"
    r"(?:,? (?:[A-Z][\w'’]+,? ){1,3}(?:[A-Z]{2} )?\d{4,5}(?:-\d{4})?)?"
)


def luhn(digits: str) -> bool:
    """Whether the last digit checks the others, as on payment cards (ISO/IEC 7812-1, annex B).

    >>> luhn("4111111111111111"), luhn("4111111111111112")
    (True, False)
    """
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 * (value > 9)
    return total % 10 == 0


def mask_identifiers(text: str, mask: Collection[str] = ()) -> tuple[str, dict[str, int]]:
    """The text with the kinds in `mask` replaced by `<kind>`, and how often each kind was found.

    What one kind has taken, another doesn't: an address in a mail is a mail.

    >>> mask_identifiers("write to ann@example.org or 10.0.0.1", ["email"])
    ('write to <email> or 10.0.0.1', {'email': 1, 'ip': 1})
    """
    spans = _found(text)
    counts: dict[str, int] = {}
    for _, _, kind in spans:
        counts[kind] = counts.get(kind, 0) + 1
    if not mask or not counts.keys() & set(mask):
        return text, counts
    parts: list[str] = []
    end = 0
    for start, stop, kind in spans:
        if kind in mask:
            parts += [text[end:start], f"<{kind}>"]
            end = stop
    return "".join((*parts, text[end:])), counts


def _found(text: str) -> list[tuple[int, int, str]]:
    """Spans that do not overlap, in order."""
    has_digit = any(digit in text for digit in "0123456789")
    found: list[tuple[int, int, str]] = []
    if "@" in text:
        found += [(*match.span(), "email") for match in _EMAIL.finditer(text)]
    if has_digit:
        found += [(*m.span(), "card") for m in _CARD.finditer(text) if _is_card(m.group())]
        found += [(*m.span(), "ip") for m in _IPV4.finditer(text) if _is_ip(m.group())]
        found += [(*m.span(), "address") for m in _ADDRESS.finditer(text)]
        found += [(*m.span(), "phone") for m in _PHONE.finditer(text) if _is_phone(m.group())]
    if "::" in text or text.count(":") > 6:
        found += [(*m.span(), "ip") for m in _IPV6.finditer(text) if _is_ip(m.group())]
    taken: list[tuple[int, int, str]] = []
    for start, end, kind in found:  # in the order of kinds: an earlier kind has the first claim
        place = bisect(taken, (start,))
        before = taken[place - 1][1] if place else 0
        after = taken[place][0] if place < len(taken) else end
        if before <= start and end <= after:
            taken.insert(place, (start, end, kind))
    return taken


def _is_card(written: str) -> bool:
    digits = re.sub(r"\D", "", written)
    return 13 <= len(digits) <= 19 and digits[0] in "3456" and luhn(digits)


def _is_phone(written: str) -> bool:
    return 7 <= sum(character.isdigit() for character in written) <= 15


def _is_ip(written: str) -> bool:
    if written.count(":") and not re.search("[0-9A-Fa-f]", written):
        return False
    try:
        return not ipaddress.ip_address(written).is_unspecified
    except ValueError:
        return False
