"""What is said is only text: nothing in it runs, and how it is cut does not show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .hands import choose, expect_answers, said, say
from .page_server import PageServer

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser


def test_markup_in_an_answer_a_question_and_a_title_stays_text(
    page: Page, server: PageServer
) -> None:
    messages: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.goto(server.url)
    attack = "<img src=x onerror=hacked()><script>hacked()</script>"
    choose(page, system=attack)
    say(page, attack)
    expect_answers(page, 1)
    assert said(page)[0] == attack
    assert "<svg onload=hacked()>" in said(page)[1]
    assert page.locator("article strong").inner_text() == "bold"
    assert page.locator("article code").inner_text() == "code"
    assert page.locator("article svg:not(.icon), img, #log script").count() == 0
    assert page.locator("#title").inner_text() == attack
    assert page.locator(".system bdi").inner_text() == attack
    assert messages == [], "the policy had nothing to refuse"


_TEXTS = [
    "Plain words.\nA second line.\n\nA new paragraph.",
    "# Heading\nunder it\n\n1. one\n2. two\n   - deeper\n   - again\n3. three\n\nafter",
    "- a\n* b\n1) c\n\n- d\ncontinued\n\n\n",
    "```python\nx = 1\n\n  y = `2`\n```\nand `code` and ``a ` b`` and a lone ` here\n`open",
    "**bold** 2 ** 3, **open `**` and **`both`**, ***three*** and * one\n**over\nlines**",
    "````\n```\ninner\n```\n````\n```unclosed\nx",
    "```inline``` code, 1.5 apples, -5 degrees, #tag, - \n-\n1.\n",
    "<b>no</b> &amp; \x1b[31m \u202eturned\u202c \x07 \U0001f999 \u05e9\u05dc\u05d5\u05dd a\r\nb",
]
_RENDER = """async ([text, sizes]) => {
    const {createRenderer} = await import("./render.js");
    const body = document.createElement("div");
    const renderer = createRenderer(body, () => {});
    const signs = Array.from(text);
    let turn = 0;
    while (signs.length) {
        renderer.feed(signs.splice(0, sizes[turn % sizes.length]).join(""));
        turn += 1;
    }
    renderer.finish();
    return body.innerHTML;
}"""


@pytest.mark.parametrize("text", _TEXTS)
def test_where_an_answer_is_cut_into_pieces_does_not_show(
    page: Page, server: PageServer, text: str
) -> None:
    page.goto(server.url)
    whole = page.evaluate(_RENDER, [text, [100_000]])
    for sizes in ([1], [2], [3, 1], [5, 2, 7]):
        assert page.evaluate(_RENDER, [text, sizes]) == whole


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("a\nb\n\nc", '<p dir="auto">a\nb</p><p dir="auto">c</p>'),
        (
            "2. x\n   - y\n3. z",
            '<ol start="2"><li><span dir="auto">x</span><ul><li><span dir="auto">y</span></li></ul>'
            '</li><li><span dir="auto">z</span></li></ol>',
        ),
        ("**a** `b<i>`", '<p dir="auto"><strong>a</strong> <code dir="ltr">b&lt;i&gt;</code></p>'),
        ("**a\n`b\nc", '<p dir="auto">**a\n`b\nc</p>'),
        ("\x1b[0m\u202e\x85", '<p dir="auto">\u241b[0m\ufffd\ufffd</p>'),
        ("## a *b*", '<h3 dir="auto">a *b*</h3>'),
    ],
)
def test_how_an_answer_is_drawn(page: Page, server: PageServer, text: str, html: str) -> None:
    page.goto(server.url)
    drawn = page.evaluate(_RENDER, [text, [100_000]])
    assert drawn == f'<div class="part">{html}</div>'
