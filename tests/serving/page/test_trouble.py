"""What goes wrong around the page: servers that die or refuse, reloads, full storage, two tabs."""

from __future__ import annotations

import http.client
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from .hands import WAIT, choose, expect_answers, go_on_for_long, request_bodies, said, say
from .page_server import KEY, PageServer

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser


@pytest.mark.slow
def test_a_server_that_dies_in_the_middle_costs_nothing_that_was_said(
    page: Page, folder: Path
) -> None:
    with PageServer(folder) as server:
        page.goto(server.url)
        go_on_for_long(page)
        server.kill()
        page.locator("#log").get_by_text("The connection broke off in the middle").wait_for(
            timeout=WAIT
        )
        before = said(page)
        assert "la la la" in before[1]
        page.get_by_label("Your message").fill("half a thought")
        page.get_by_role("button", name="Try again").click()
        page.locator("#log").get_by_text("The server cannot be reached").wait_for(timeout=WAIT)
        assert said(page) == before
        server.start()
        choose(page, max_tokens="20")
        page.get_by_role("button", name="Try again").click()
        page.get_by_text("2/2").wait_for(timeout=WAIT)
        expect_answers(page, 1)
        assert said(page)[0] == before[0]
        page.get_by_role("button", name="Earlier answer").click()
        assert said(page) == before
        page.reload()
        assert said(page) == before
        assert page.get_by_label("Your message").input_value() == "half a thought"


def test_a_reload_in_the_middle_keeps_what_came(page: Page, server: PageServer) -> None:
    page.goto(server.url)
    go_on_for_long(page)
    page.reload()
    expect_answers(page, 1)
    assert "la la la" in said(page)[1]
    assert page.locator("article.assistant .end").is_visible(), "it says that it is not whole"
    server.wait_until_idle()


def test_a_busy_server_says_when_and_the_question_waits(page: Page, server: PageServer) -> None:
    address = urlsplit(server.url)
    body = {"messages": [{"role": "user", "content": "?"}], "n": 2, "stream": True,
            "temperature": 0}  # fmt: skip
    others = http.client.HTTPConnection(address.hostname or "", address.port)
    others.request("POST", "/v1/chat/completions", json.dumps(body),
                   {"content-type": "application/json"})  # fmt: skip
    answer = others.getresponse()
    assert answer.status == 200
    page.goto(server.url)
    say(page, "Me too!")
    page.locator("#log").get_by_text(
        re.compile(r"The server is busy\. It asks to wait \d+ seconds?\.")
    ).wait_for()
    answer.close()
    others.close()
    server.wait_until_idle()
    page.get_by_role("button", name="Try again").click()
    expect_answers(page, 1)
    assert page.locator(".trouble").count() == 0


def test_a_key_is_asked_for_and_kept_in_the_tab_alone(page: Page, small_server: PageServer) -> None:
    page.goto(small_server.url)
    dialog = page.get_by_role("dialog", name="API key")
    dialog.get_by_role("textbox", name="Key").fill("wrong")
    dialog.get_by_role("button", name="Use this key").click()
    dialog.get_by_text("did not accept").wait_for()
    dialog.get_by_role("textbox", name="Key").fill(KEY)
    dialog.get_by_role("textbox", name="Key").press("Enter")
    page.get_by_role("heading", name="Talk with valley").wait_for()
    choose(page, max_tokens="20")
    say(page, "Hello!")
    expect_answers(page, 1)
    page.reload()
    say(page, "Again!")
    expect_answers(page, 2)
    assert KEY not in page.evaluate("JSON.stringify({...localStorage})")
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("button", name="Forget it").click()
    page.keyboard.press("Escape")
    say(page, "And now?")
    dialog.wait_for()
    page.keyboard.press("Escape")
    assert said(page)[-1] == "And now?"
    page.get_by_role("button", name="Enter the key").click()
    dialog.get_by_role("textbox", name="Key").fill(KEY)
    dialog.get_by_role("textbox", name="Key").press("Enter")
    expect_answers(page, 3)


def test_a_full_context_offers_to_leave_out_the_oldest(
    page: Page, small_server: PageServer
) -> None:
    bodies = request_bodies(page)
    page.goto(small_server.url)
    page.get_by_role("textbox", name="Key").fill(KEY)
    page.get_by_role("textbox", name="Key").press("Enter")
    choose(page, temperature="0", max_tokens="60")
    numbers = ["first", "second", "third", "fourth", "fifth", "sixth"]
    offer = page.get_by_role("button", name="Leave out the oldest and try again")
    count, number = 0, ""
    for count, number in enumerate(numbers, 1):
        say(page, f"The {number}!")
        trouble = page.locator(".trouble")
        ended = page.locator("article.assistant:not([aria-busy=true])").nth(count - 1)
        trouble.or_(ended).first.wait_for()
        if trouble.count():
            break
        expect_answers(page, count)
    offer.click()
    expect_answers(page, count)
    assert bodies[-1]["messages"][-1]["content"] == f"The {number}!"
    assert len(bodies[-1]["messages"]) < 2 * count - 1
    assert page.get_by_text("The model no longer sees what stands above").is_visible()
    assert said(page)[0] == "The first!", "it still stands there"
    # A message that is too long by itself is nothing that leaving out could mend.
    say(page, "x " * 500)
    offer.click()
    page.locator("#log").get_by_text("This message alone is too long").wait_for()
    say(page, "Shorter!")
    offer.click()
    expect_answers(page, count + 1)
    assert said(page)[-2] == "Shorter!", "it takes the place of the one that was too long"


def test_a_refusal_of_the_server_is_not_taken_for_the_model(
    page: Page, small_server: PageServer
) -> None:
    page.goto(small_server.url)
    page.get_by_role("textbox", name="Key").fill(KEY)
    page.get_by_role("textbox", name="Key").press("Enter")
    say(page, "Something forbidden!")
    expect_answers(page, 1)
    assert "can't help" in said(page)[1]
    assert page.locator("article.assistant .end").inner_text().startswith("Said by a check")


def test_a_full_storage_is_said_and_loses_nothing_while_the_page_is_open(
    page: Page, server: PageServer
) -> None:
    page.goto(server.url)
    page.evaluate("""() => {
        for (let size = 1 << 22; size; size >>= 1) {
            for (let n = 0; ; n += 1) {
                try {
                    localStorage.setItem(`other.${size}.${n}`, "x".repeat(size));
                } catch {
                    break;
                }
            }
        }
    }""")
    say(page, "Is there room?")
    expect_answers(page, 1)
    page.get_by_text("The browser has no room left").wait_for()
    say(page, "And now?")
    expect_answers(page, 2)
    whole = said(page)
    page.evaluate("""() => Object.keys(localStorage).filter((key) => key.startsWith("other."))
        .forEach((key) => localStorage.removeItem(key))""")
    say(page, "Now there is.")
    expect_answers(page, 3)
    assert page.locator("#banner").is_hidden()
    page.reload()
    assert said(page)[:4] == whole


def test_two_tabs_in_one_conversation_keep_what_both_say(
    browser: Browser, server: PageServer
) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(server.url)
    go_on_for_long(page)
    other = context.new_page()
    other.goto(page.url)
    other.bring_to_front()
    assert said(other)[0] == "Go on."
    page.get_by_role("button", name="Stop").click()
    expect_answers(page, 1)
    other.locator("#log").get_by_text("Stopped.").wait_for()
    other.get_by_role("button", name="Rename Go on.").focus()
    other.keyboard.press("Enter")
    other.get_by_label("Title").fill("A long song")
    other.get_by_label("Title").press("Enter")
    page.get_by_role("heading", name="A long song").wait_for()
    assert said(other) == said(page)
    choose(other, max_tokens="20")
    say(other, "From the other tab.")
    expect_answers(other, 2)
    expect_answers(page, 2)
    say(page, "From the first tab.")
    expect_answers(page, 3)
    expect_answers(other, 3)
    other.reload()
    assert said(other) == said(page)
    # Deleted there, gone here.
    other.get_by_role("button", name="Delete A long song").focus()
    other.keyboard.press("Enter")
    page.get_by_role("heading", name="Talk with valley").wait_for()
    context.close()
