"""Sites that are left out, and how a list of them may look."""

from __future__ import annotations

from pathlib import Path

import pytest

from arriero.corpus.sites import excluding, host_of, read_sites
from arriero.records import UserError

SITES = frozenset(("example.org", "a.b.net"))


@pytest.mark.parametrize(
    ("url", "site"),
    [
        ("http://example.org/x", "example.org"),
        ("https://user:pw@WWW.Example.ORG:80/x?y=http://other.net", "example.org"),
        ("example.org/page", "example.org"),
        ("//deep.er.example.org", "example.org"),
        ("http://example.org./", "example.org"),
        ("http:\\\\example.org\\x", "example.org"),
        ("http://a.b.net", "a.b.net"),
        ("http://b.net", ""),
        ("http://notexample.org", ""),
        ("http://example.org.evil.net", ""),
        ("http://other.net/?u=http://example.org", ""),
        ("http://[broken", ""),
        ("", ""),
    ],
)
def test_excluding(url: str, site: str) -> None:
    assert excluding(url, SITES) == site


def test_names_in_other_letters() -> None:
    assert host_of("http://Bücher.example/") == "xn--bcher-kva.example"
    assert excluding("http://bücher.example/", read_sites(["BÜCHER.example"], []))


def test_lists(tmp_path: Path) -> None:
    path = tmp_path / "sites.txt"
    path.write_text("# people\nexample.org\n*.a.b.net  # and all under it\n\nwww.c.net\n")
    assert read_sites([], [str(path)]) == {"example.org", "a.b.net", "c.net"}


@pytest.mark.parametrize("line", ["http://example.org", "a b", '{"domain": "x"}', "a..b"])
def test_a_list_in_another_format_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "sites.txt"
    path.write_text(f"fine.org\n{line}\n")
    with pytest.raises(UserError, match=r"sites\.txt:2: .* is no domain"):
        read_sites([], [str(path)])


def test_a_list_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such list"):
        read_sites([], [str(tmp_path / "none.txt")])
