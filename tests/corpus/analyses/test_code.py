"""Code as files have it (licences, docstrings, minified, a shell's) beside laws and lists."""

from __future__ import annotations

import pytest

from arriero.corpus.analyses.code import is_code, looks_like_code

CODE = {
    "shell": 'if [ -z "$HOME" ]; then\n  echo "no home"\nfi\nfor f in $(ls); do\n  rm "$f"\ndone\n',
    "docstring longer than the code": (
        'def area(radius):\n    """The area.\n\n    A circle has one, and it is known\n'
        "    since the Greeks. Say the radius,\n    and you are told.\n    All of it.\n"
        '    """\n    square = radius * radius\n    return 3 * square\n'
    ),
    "licence longer than the code": (
        "/*\n * You may use this as you like.\n * Nobody promises anything.\n"
        " * It may break.\n */\nint twice(int x) {\n    return 2 * x;\n}\n"
    ),
    "minified": "\n".join(["var a=1;function f(b){return b+a};f(2);if(a>1){f(a)};" * 8] * 3),
    "style": "body {\n  margin: 0 auto;\n  color: red;\n}\n",
    "perl": "use strict;\nmy %seen;\nwhile (<>) {\n    $seen{$_} += 1;\n}\nprint keys %seen;\n",
}
PROSE = {
    "a law": (
        "Whereas the recognition of dignity is the foundation of freedom;\n"
        "Whereas disregard for rights has resulted in barbarous acts;\n"
        "Whereas it is essential that rights be protected by law;\nNow, therefore, it is so:\n"
    ),
    "a law with apostrophes": (
        "Whereas man's dignity is the world's foundation;\n"
        "Whereas it's known that nobody's rights may be taken;\n"
        "Whereas a people's voice shall be heard by its king's court;\n"
    ),
    "headings and bullets": (
        "# Of cheese\n\nCheese is old.\n\n* cow\n* goat\n* sheep\n\n## More\n\nIt is good.\n"
    ),
    "bullets with three lines of code": (
        "* first we say\n* then we count\n* we go home\n* we eat\n* we sleep\n* we rise\n* we eat\n"
        "* we work\n* we read\n* we sing\n* we sleep\n* all is well\n* again\n"
        "a = 1\nb = 2\nc = 3\n"
    ),
    "prices": "It costs $5 a pound.\nThat is $10 for two.\nI paid $15 for three of them.\n",
    "a long line": "Once upon a time (long ago) there was a king; he was old. " * 40,
}


@pytest.mark.parametrize("name", CODE)
def test_code(name: str) -> None:
    assert is_code(CODE[name])


@pytest.mark.parametrize("name", PROSE)
def test_prose(name: str) -> None:
    assert not is_code(PROSE[name])


@pytest.mark.parametrize(
    ("line", "is_one"),
    [
        ("break;", True),
        ("unsigned long x;", True),
        ("and so they slept in the end;", False),
        ("x = f(y);", True),
        ("    }", True),
        ("done", True),
        ("done with it", False),
        ("return to me, my love", False),
        ("return x", True),
        ("", False),
    ],
)
def test_lines_by_hand(line: str, is_one: bool) -> None:
    assert looks_like_code(line) is is_one
