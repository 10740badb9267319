"""Whole sites that are left out: those known to hold much about private people (section 2.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from arriero.data.files import read_text_lines
from arriero.records import UserError

_DOMAIN = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_-]{1,63})*")


def host_of(url: str) -> str:
    """The host of a URL in small letters, in its ASCII form; "" where there is none.

    >>> host_of("https://User@WWW.Example.org:8080/a?b")
    'www.example.org'
    """
    url = url.strip().replace("\\", "/")
    if "//" not in url.split("?")[0]:
        url = f"//{url}"
    try:
        host = (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return ""
    return _ascii(host)


def excluding(url: str, sites: frozenset[str]) -> str:
    """The listed site that a URL lies on, as domain or subdomain; "" for none.

    >>> excluding("http://people.example.org/x", frozenset({"example.org"}))
    'example.org'
    """
    host = host_of(url) if sites and url else ""
    while host:
        if host in sites:
            return host
        host = host.partition(".")[2]
    return ""


def read_sites(
    given: Iterable[str], files: Iterable[str], key: str = "excluded_sites"
) -> frozenset[str]:
    """The sites of a list and of files with one a line; `#` begins a comment.

    Args:
        key: what the list is called in an error.

    Raises:
        UserError: a file is not there, or a line is no domain.
    """
    found = {_site(entry, key) for entry in given}
    for name in files:
        path = Path(name)
        if not path.is_file():
            raise UserError(f"{path}: no such list of sites; mend excluded_site_files")
        for number, line in read_text_lines(path):
            if entry := line.partition("#")[0].strip():
                found.add(_site(entry, f"{path}:{number}"))
    return frozenset(found)


def _site(entry: str, where: str) -> str:
    domain = _ascii(entry.strip().lower().removeprefix("*.").removeprefix("www.").rstrip("."))
    if not _DOMAIN.fullmatch(domain):
        raise UserError(f"{where}: {entry!r} is no domain; write one a line, such as example.org")
    return domain


def _ascii(host: str) -> str:
    if host.isascii():
        return host.lower()
    try:
        return host.lower().encode("idna").decode()
    except UnicodeError:
        return host.lower()
