"""Talking through the page in Chromium, to a real server in a process of its own."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from arriero.data.dialogs import read_dialogs

from .hands import choose, expect_answers, go_on_for_long, request_bodies, said, say
from .page_server import PageServer
from .scripted_model import OPENINGS

if TYPE_CHECKING:
    from playwright.sync_api import Page

_ANSWER = re.compile(rf"({'|'.join(OPENINGS)}): bold code <svg onload=hacked\(\)> then( la)*")

pytestmark = pytest.mark.browser


def test_an_answer_streams_in_under_the_models_name_and_survives_a_reload(
    page: Page, server: PageServer
) -> None:
    page.goto(server.url)
    page.get_by_role("heading", name="Talk with valley").wait_for()
    assert page.locator("#model").inner_text() == "valley"
    choose(page, temperature="0", max_tokens="8000")
    # Mark what is drawn first: text that comes later must not draw it again.
    page.evaluate("""() => {
        window.lengths = [];
        new MutationObserver(() => {
            const body = document.querySelector("article.assistant .said");
            if (!body?.firstChild) return;
            body.firstChild.isFirst = true;
            window.lengths.push(body.textContent.length);
        }).observe(
            document.querySelector("#log"),
            { childList: true, characterData: true, subtree: true },
        );
    }""")
    say(page, "Hello!")
    expect_answers(page, 1)
    lengths = page.evaluate("window.lengths")
    assert len(set(lengths)) > 3, "it came in pieces"
    assert page.evaluate("document.querySelector('article.assistant .said').firstChild.isFirst")
    question, answer = said(page)
    assert question == "Hello!"
    assert _ANSWER.fullmatch(answer)
    assert answer.count(" la") > 7900
    assert "Cut off" in page.locator("article.assistant .end").inner_text()
    assert "8000 tokens" in page.locator(".meter").inner_text()
    # Who listens instead of looking hears it once, when it is whole.
    assert page.locator("#announcer").inner_text().startswith("The model: ")
    page.reload()
    expect_answers(page, 1)
    assert said(page) == [question, answer]
    assert page.locator("#list a").all_inner_texts() == ["Hello!"]


def test_a_button_stops_and_what_came_is_kept_exported_and_left_open(
    page: Page, server: PageServer, tmp_path: Path
) -> None:
    page.goto(server.url)
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("System prompt").fill("Be kind.")
    page.get_by_role("button", name="Save").click()
    go_on_for_long(page)
    page.get_by_role("button", name="Stop").click()
    expect_answers(page, 1)
    assert page.locator("article.assistant .end").inner_text() == "Stopped."
    server.wait_until_idle()
    question, answer = said(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
    assert download.value.suggested_filename == "Go-on.jsonl"
    download.value.save_as(tmp_path / "talk.jsonl")
    row = json.loads((tmp_path / "talk.jsonl").read_text())
    assert row["source"] == "chat"
    assert row["stopped"] == [2]
    (dialog,) = read_dialogs(tmp_path / "talk.jsonl")
    assert dialog.is_cut
    assert [message.role for message in dialog.messages] == ["system", "user", "assistant"]
    assert dialog.messages[0].content == "Be kind."
    assert dialog.messages[1].content == question
    assert dialog.messages[2].content.startswith(
        answer.partition(":")[0] + ": **bold** `code` <svg"
    )


def test_another_answer_and_another_question_stand_beside_the_first_ones(
    page: Page, server: PageServer
) -> None:
    bodies = request_bodies(page)
    page.goto(server.url)
    choose(page, seed="7")
    say(page, "First?")
    expect_answers(page, 1)
    say(page, "Second?")
    expect_answers(page, 2)
    whole = said(page)
    page.locator("article.assistant").last.get_by_role("button", name="Answer once more").click()
    page.get_by_text("2/2").wait_for()
    expect_answers(page, 2)
    assert [body["seed"] for body in bodies] == [7, 7, 8]
    assert bodies[2]["messages"] == bodies[1]["messages"]
    again = said(page)[-1]
    page.get_by_role("button", name="Earlier answer").click()
    assert said(page) == whole
    page.get_by_role("button", name="Later answer").click()
    assert said(page) == [*whole[:-1], again]
    # The first question once more, in other words: the conversation goes on from there.
    page.locator("article.user").first.hover()
    page.locator("article.user").first.get_by_role("button", name="Edit").click()
    page.get_by_label("Edit your message").fill("Something else?")
    page.get_by_label("Edit your message").press("Enter")
    expect_answers(page, 1)
    assert bodies[3]["messages"] == [{"role": "user", "content": "Something else?"}]
    assert said(page)[0] == "Something else?"
    page.reload()
    page.locator("article.user").hover()
    page.get_by_role("button", name="Earlier version").click()
    assert said(page) == [*whole[:-1], again]


def test_settings_and_the_system_prompt_reach_the_server(page: Page, server: PageServer) -> None:
    bodies = request_bodies(page)
    page.goto(server.url)
    choose(page, temperature="1.2", top_p="0.5", top_k="3", max_tokens="9", seed="11",
           system="Be kind.")  # fmt: skip
    page.reload()
    say(page, "Hello!")
    expect_answers(page, 1)
    (body,) = bodies
    assert {**body, "stream_options": None} == {
        "model": "valley",
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "Hello!"},
        ],
        "temperature": 1.2, "top_p": 0.5, "top_k": 3, "max_tokens": 9, "seed": 11,
        "stream": True, "stream_options": None,
    }  # fmt: skip
    # Out of range: the dialog stays open and says what is wrong.
    choose(page, temperature="3")
    assert page.locator("#settings").is_visible()
    assert page.locator("#settings [name=temperature]").evaluate("field => !field.validity.valid")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="New conversation").click()
    say(page, "Hello again!")
    expect_answers(page, 1)
    assert bodies[1]["temperature"] == 1.2, "sampling is kept for all conversations"
    assert [message["role"] for message in bodies[1]["messages"]] == ["user"]


def test_conversations_are_listed_renamed_deleted_and_brought_back(
    page: Page, server: PageServer
) -> None:
    page.goto(server.url)
    for text in ("One?", "Two?"):
        page.get_by_role("button", name="New conversation").click()
        say(page, text)
        expect_answers(page, 1)
    titles = page.locator("#list a")
    assert titles.all_inner_texts() == ["Two?", "One?"]
    titles.last.hover()
    page.get_by_role("button", name="Rename One?").click()
    page.get_by_label("Title").fill("Apples")
    page.get_by_label("Title").press("Enter")
    assert sorted(titles.all_inner_texts()) == ["Apples", "Two?"]
    page.get_by_role("link", name="Apples").click()
    page.locator("#title", has_text="Apples").wait_for()
    assert said(page)[0] == "One?"
    page.get_by_role("link", name="Apples").hover()
    page.get_by_role("button", name="Delete Apples").click()
    assert titles.all_inner_texts() == ["Two?"]
    page.get_by_role("heading", name="Talk with valley").wait_for()
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("One?", exact=True).wait_for()
    page.reload()
    assert said(page)[0] == "One?"
    page.go_back()
    assert sorted(titles.all_inner_texts()) == ["Apples", "Two?"]
