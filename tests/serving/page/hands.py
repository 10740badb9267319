"""What a person does with the page, and what stands on it then."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page

WAIT = 60_000.0
"""Milliseconds; machines that run tests are busy."""


def say(page: Page, text: str) -> None:
    box = page.get_by_label("Your message")
    box.fill(text)
    box.press("Enter")


def said(page: Page) -> list[str]:
    """All that stands in the conversation, without what buttons and notes say."""
    return page.locator("article .said").all_inner_texts()


def expect_answers(page: Page, count: int) -> None:
    """Wait until so many answers stand there, all of them ended."""
    from playwright.sync_api import expect

    expect(page.locator("article.assistant")).to_have_count(count, timeout=WAIT)
    expect(page.locator("article[aria-busy=true]")).to_have_count(0, timeout=WAIT)
    # The box sends again a moment later than the answer ends.
    expect(page.locator("#stop")).to_be_hidden(timeout=WAIT)


def choose(page: Page, **values: str) -> None:
    """Fill in the settings and keep them."""
    page.get_by_role("button", name="Settings").click()
    for name, value in values.items():
        page.locator(f"#settings [name={name}]").fill(value)
    page.get_by_role("button", name="Save").click()


def go_on_for_long(page: Page) -> None:
    """Begin an answer that would take many seconds, and wait for its first words."""
    choose(page, temperature="0", max_tokens="")
    say(page, "Go on.")
    page.locator("#log").get_by_text("la la la la").wait_for(timeout=WAIT)


def request_bodies(page: Page) -> list[dict[str, Any]]:
    """A list to which each further request for an answer is added."""
    bodies: list[dict[str, Any]] = []

    def note(request: Any) -> None:
        if request.url.endswith("/chat/completions"):
            bodies.append(json.loads(request.post_data))

    page.on("request", note)
    return bodies
