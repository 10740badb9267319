"""Every screen and every hand: phones, colours, the keyboard alone, input methods."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

import pytest

from .hands import WAIT, choose, expect_answers, go_on_for_long, said, say
from .page_server import PageServer

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("width", [360, 390])
def test_a_phone_shows_everything_without_scrolling_sideways(
    page: Page, server: PageServer, width: int
) -> None:
    def overflow() -> int:
        return page.evaluate("document.documentElement.scrollWidth - innerWidth")

    page.set_viewport_size({"width": width, "height": 740})
    page.goto(server.url)
    page.get_by_role("heading", name="Talk with valley").wait_for()
    assert overflow() == 0
    choose(page, system="A long system prompt, " * 20)
    say(page, "Unbroken" * 60 + "\n" + "longer than a line " * 20)
    expect_answers(page, 1)
    assert overflow() == 0
    inside = (
        "e => { const b = e.getBoundingClientRect(); return b.right <= innerWidth && b.left >= 0; }"
    )
    for element in page.locator("#said, #send, article .said, .bar button:visible, .system").all():
        assert element.evaluate(inside)
    # The keyboard takes the lower half of the screen: the box to write in stands above it.
    page.set_viewport_size({"width": width, "height": 380})
    box = page.locator("#said").bounding_box()
    assert box is not None
    assert box["y"] + box["height"] <= 380
    page.set_viewport_size({"width": width, "height": 740})
    sidebar = page.get_by_role("complementary", name="Conversations")
    assert sidebar.is_hidden()
    page.locator("#open-sidebar").click()
    assert sidebar.is_visible()
    assert overflow() == 0
    assert page.evaluate("document.activeElement.id") == "new"
    page.keyboard.press("Escape")
    page.locator("#sidebar").wait_for(state="hidden")
    assert page.evaluate("document.activeElement.id") == "open-sidebar"
    page.locator("#open-settings").click()
    assert overflow() == 0
    assert page.locator("#settings").evaluate("e => e.scrollWidth <= e.clientWidth")


def test_on_a_phone_enter_begins_a_line_and_a_tap_calls_the_buttons(
    browser: Browser, server: PageServer
) -> None:
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    )
    page = context.new_page()
    page.goto(server.url)
    box = page.get_by_label("Your message")
    for text in ("First", "Second"):
        box.tap()
        page.keyboard.type(text)
        page.keyboard.press("Enter")
        page.keyboard.type("line")
        page.get_by_role("button", name="Send").tap()
        expect_answers(page, page.locator("article.user").count())
    assert said(page)[::2] == ["First\nline", "Second\nline"]
    edit = page.locator("article.user").first.get_by_role("button", name="Edit")
    assert edit.is_hidden()
    page.locator("article.user").first.tap()
    edit.tap()
    assert page.get_by_label("Edit your message").input_value() == "First\nline"
    context.close()


_CONTRASTS = """() => {
    const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const light = (colour) => {
        const [r, g, b] = parse(colour).slice(0, 3).map((v) => v / 255)
            .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = (element) => {
        for (let e = element; e; e = e.parentElement) {
            const parts = parse(getComputedStyle(e).backgroundColor);
            if (parts.length === 3 || parts[3] === 1) return parts;
        }
        return [255, 255, 255];
    };
    const hasText = (e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    return [...document.querySelectorAll("body *, dialog *")]
        .filter((e) => (hasText(e) || e.placeholder) && e.checkVisibility({opacityProperty: true}))
        .map((e) => {
            const style = getComputedStyle(e, e.placeholder && !e.value ? "::placeholder" : null);
            const front = light(style.color), back = light(ground(e).join(","));
            return (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
        });
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_can_be_read_in_light_and_in_dark(
    page: Page, server: PageServer, scheme: Literal["light", "dark"]
) -> None:
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.goto(server.url)
    contrasts = page.evaluate(_CONTRASTS)
    say(page, "Hello!")
    expect_answers(page, 1)
    contrasts += page.evaluate(_CONTRASTS)
    page.get_by_role("button", name="Settings").click()
    contrasts += page.evaluate(_CONTRASTS)
    assert len(contrasts) > 40
    assert min(contrasts) >= 4.5  # WCAG AA


def test_the_switch_of_colours_is_remembered(page: Page, server: PageServer) -> None:
    def ground() -> str:
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    page.emulate_media(color_scheme="light")
    page.goto(server.url)
    light = ground()
    page.get_by_text("Dark", exact=True).click()
    dark = ground()
    assert dark != light
    page.reload()
    assert ground() == dark
    assert page.get_by_role("radio", name="Dark").is_checked()
    page.get_by_text("System", exact=True).click()
    assert ground() == light
    page.emulate_media(color_scheme="dark")
    assert ground() == dark
    page.get_by_text("Light", exact=True).click()
    assert ground() == light


def test_the_keyboard_alone_is_enough(page: Page, server: PageServer) -> None:
    def reach(name: str) -> None:
        """Press Tab until something of this name has the focus, and see that it shows."""
        for _ in range(60):
            page.keyboard.press("Tab")
            label, outline = page.evaluate(
                """() => {
                    const e = document.activeElement;
                    if (e === document.body) return ["", ""];
                    const shown = e.type === "radio" ? e.nextElementSibling : e;
                    const { outlineStyle, boxShadow } = getComputedStyle(shown);
                    const name = e.ariaLabel ?? e.labels?.[0]?.textContent ?? e.textContent;
                    return [name, outlineStyle + boxShadow];
                }"""
            )
            if name in label:
                assert outline != "nonenone"
                return
        pytest.fail(f"Tab does not lead to {name}")

    page.goto(server.url)
    page.get_by_role("heading", name="Talk with valley").wait_for()
    assert page.evaluate("document.activeElement.id") == "said", "ready to write"
    page.keyboard.type("One line")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("and another")
    page.keyboard.press("Enter")
    expect_answers(page, 1)
    assert said(page)[0] == "One line\nand another"
    assert page.evaluate("document.activeElement.id") == "said"
    reach("Settings")
    page.keyboard.press("Enter")
    reach("Temperature")
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("0")
    reach("Max tokens")
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.press("Delete")
    page.keyboard.press("Enter")
    assert page.locator("#settings").is_hidden()
    assert page.evaluate("document.activeElement.ariaLabel") == "Settings", "focus comes back"
    reach("Answer once more")
    page.keyboard.press("Enter")
    page.locator("#log").get_by_text("la la la la").wait_for()
    page.keyboard.press("Escape")
    expect_answers(page, 1)
    page.locator("#log").get_by_text("Stopped.").wait_for()
    reach("Earlier answer")
    page.keyboard.press("Enter")
    page.get_by_text("1/2").wait_for()
    reach("Edit")
    page.keyboard.press("Enter")
    page.keyboard.type(" more")
    page.keyboard.press("Escape")
    assert said(page)[0] == "One line\nand another"
    assert page.evaluate("document.activeElement.ariaLabel") == "Edit"
    reach("Skip to the message box")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "said"
    reach("Rename One line")
    page.keyboard.press("Enter")
    page.keyboard.type("Lines")
    page.keyboard.press("Enter")
    reach("Delete Lines")
    page.keyboard.press("Enter")
    reach("Undo")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Lines").wait_for()


def test_everything_that_can_be_used_has_a_name(page: Page, server: PageServer) -> None:
    page.goto(server.url)
    say(page, "Hello!")
    expect_answers(page, 1)
    page.get_by_role("button", name="Settings").click()
    page.evaluate("document.querySelector('#key').show()")
    nameless = page.locator("button, input, textarea, a, dialog").evaluate_all(
        """all => all.filter((e) => !(e.ariaLabel || e.labels?.length || e.textContent.trim()
            || e.getAttribute("aria-labelledby"))).map((e) => e.outerHTML)"""
    )
    assert nameless == []


def test_enter_ends_a_composition_without_sending(page: Page, server: PageServer) -> None:
    page.goto(server.url)
    page.get_by_label("Your message").focus()
    session = page.context.new_cdp_session(page)
    session.send("Input.imeSetComposition", {"text": "ni", "selectionStart": 2, "selectionEnd": 2})
    page.keyboard.press("Enter")
    assert page.locator("article").count() == 0
    session.send("Input.insertText", {"text": "\u4f60"})
    assert page.get_by_label("Your message").input_value().startswith("\u4f60")
    page.keyboard.press("Enter")
    expect_answers(page, 1)


def test_the_newest_words_are_followed_until_somebody_scrolls_up(
    page: Page, server: PageServer
) -> None:
    top = "document.querySelector('#scroller').scrollTop"
    away = (
        "(e => e.scrollHeight - e.clientHeight - e.scrollTop)(document.querySelector('#scroller'))"
    )
    page.set_viewport_size({"width": 600, "height": 400})
    page.goto(server.url)
    go_on_for_long(page)
    page.locator("#log").get_by_text("la " * 400).wait_for(timeout=WAIT)
    assert page.evaluate(away) < 60
    page.locator("#scroller").hover()
    page.mouse.wheel(0, -150)
    page.get_by_role("button", name="Newest").wait_for()
    before = page.evaluate(top)
    length = len(said(page)[1])
    while len(said(page)[1]) < length + 300:
        page.wait_for_timeout(50)
    assert page.evaluate(top) == before
    page.get_by_role("button", name="Newest").click()
    assert page.evaluate(away) < 60
    page.get_by_role("button", name="Stop").click()


def test_an_example_can_be_asked_and_an_answer_copied(page: Page, server: PageServer) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(server.url)
    examples = page.locator(".welcome li button")
    assert examples.count() == 3
    text = examples.first.inner_text()
    examples.first.click()
    expect_answers(page, 1)
    assert said(page)[0] == text
    page.get_by_role("button", name="Copy this answer").click()
    page.get_by_text("Copied").wait_for(state="attached")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert re.match(r"\w+: \*\*bold\*\* `code` <svg onload=hacked\(\)> then", copied)
