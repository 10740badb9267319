"""The files of the page hold to the policy that the server sends with them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import arriero.serving

_FOLDER = Path(arriero.serving.__file__).parent / "page"
_FILES = sorted(path.name for path in _FOLDER.iterdir())


@pytest.mark.parametrize("name", _FILES)
def test_nothing_comes_from_elsewhere_and_no_text_becomes_markup(name: str) -> None:
    text = (_FOLDER / name).read_text(encoding="utf-8")
    text = text.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?:|//cdn|@import|url\(|data:[a-z]", text)
    assert not re.search(
        r"(inner|outer|adjacent)HTML|document\.write|\beval\b|Function\(", text, re.I
    )
    if name.endswith(".html"):
        assert not re.search(r"\son\w+=|\sstyle=|<style|<script(?! [^>]*src=)|javascript:", text)
        assert {*re.findall(r'(?:href|src)="([\w.]+)"', text)} <= {*_FILES}


@pytest.mark.parametrize("name", [name for name in _FILES if name.endswith(".js")])
def test_a_module_says_first_what_it_is_for_and_imports_what_is_there(name: str) -> None:
    text = (_FOLDER / name).read_text(encoding="utf-8")
    assert text.startswith("// ")
    assert {*re.findall(r'from "\./(.*?)"', text)} <= {*_FILES}
