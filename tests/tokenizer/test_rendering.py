"""What a stranger's template may do, and what becomes of it otherwise."""

from __future__ import annotations

import gc
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest

from arriero.records import Message, UserError
from arriero.tokenizer.rendering import MAX_TEMPLATE, Renderer

USER, ANSWER = Message("user", "Who walks?"), Message("assistant", "A mule.")
MARKED = "{% for m in messages %}<{{ m.role }}>{{ m['content'] | trim }}{{ eos_token }}{% endfor %}"


def render(source: str, *messages: Message, opening: bool = False, **variables: str) -> str:
    return Renderer(source, variables).render(
        "FOLDER", [messages or (USER,)], add_generation_prompt=opening
    )[0]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (MARKED, "<user>Who walks?</s>"),
        ("{% if add_generation_prompt %}yes{% else %}no{% endif %}", "no"),
        # Lines of a block alone leave nothing behind.
        ("  {% if true %}\n  a\n  {% endif %}\nb", "  a\nb"),
        ("{{ bos_token ~ 'x' }}{{ nobody }}", "x"),
        ("{% if tools is not none or documents is not none %}x{% endif %}", ""),
        ("{{ {'b': '<é>', 'a': 1} | tojson }}", '{"b": "<é>", "a": 1}'),
        ("{{ [1, 2] | tojson(indent=1) }}", "[\n 1,\n 2\n]"),
        ("{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}", "01"),
        ("{% generation %}a{{ messages[0].role }}{% endgeneration %}", "auser"),
        ("{% set ns = namespace(n=1) %}{% set ns.n = ns.n + 1 %}{{ ns.n }}", "2"),
        ("{% macro f(x) %}<{{ x }}>{% endmacro %}{{ f('a') }}", "<a>"),
        ("{{ messages | length }}{{ 'a' * 3 }}{{ 'a b'.split() | join('+') }}", "1aaaa+b"),
    ],
)
def test_what_templates_use(source: str, expected: str) -> None:
    assert render(source, eos_token="</s>") == expected


def test_the_date() -> None:
    before = datetime.now()
    given = render("{{ strftime_now('%d %b %Y') }}")
    assert given in {day.strftime("%d %b %Y") for day in (before, datetime.now())}


ENDLESS = "{% for i in range(99999) %}" * 3 + "{% endfor %}" * 3


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("{% if %}", r"is broken: .*\(line 1\)"),
        ("a\n{{ 'b }", r"is broken: .*\(line 2\)"),
        ("{{ raise_exception('no system\nhere') }}", "refuses this dialog: no system here"),
        ("{{ messages[0].nobody.more }}", "is broken: UndefinedError"),
        ("{% include 'x' %}", "is broken"),
        ("{{ ''.__class__ }}", "reaches for the attribute '__class__', which no template may"),
        ("{{ ''['__class__'] }}", "reaches for"),
        ("{% if false %}{{ x.__globals__ }}{% endif %}", "reaches for"),
        ("{{ messages.append(1) }}", "reaches for"),
        ("{% set ns = namespace(**{'__call__': 1}) %}", "reaches for"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "is broken: RecursionError"),
        ("{{ 'a' * 10 ** 11 }}", "too much memory"),
        ("{% for i in range(40) %}" + "{{ 'a' * 999999 }}" + "{% endfor %}", "too much memory"),
        ("x" * (MAX_TEMPLATE + 1), "1,048,577 characters is not run"),
    ],
)
def test_what_is_refused(source: str, reason: str) -> None:
    with pytest.raises(UserError, match=f"^FOLDER: .*{reason}") as error:
        render(source)
    assert "\n" not in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    "source",
    [
        ENDLESS,
        # In one instruction, where no counting of steps would help.
        "{{ (range(99999) | list | string * 2000).replace('1', 'ab').replace('2', 'ab')"
        ".replace('3', 'ab') | length }}" * 50,
        "{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(99) %}"
        "{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
    ],
)
def test_what_takes_too_long_or_too_much_is_ended(source: str) -> None:
    with pytest.raises(UserError, match=r"runs for more than 2 seconds|too much memory"):
        render(source)


@pytest.mark.slow
def test_after_an_endless_dialog_the_next_one_is_rendered() -> None:
    renderer = Renderer("{% if messages | length > 1 %}" + ENDLESS + "{% endif %}fine", {})
    assert renderer.render("FOLDER", [[USER]], add_generation_prompt=True) == ["fine"]
    with pytest.raises(UserError, match="more than 2 seconds"):
        renderer.render("FOLDER", [[USER], [USER, ANSWER], [USER]], add_generation_prompt=True)
    assert renderer.render("FOLDER", [[USER]], add_generation_prompt=True) == ["fine"]


def test_attributes_by_made_up_names_are_nothing() -> None:
    assert render("{{ ''|attr('__cl' ~ 'ass__') }}") == ""


def test_it_does_not_know_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    renderer = Renderer("a", {})
    renderer.render("FOLDER", [[USER]], add_generation_prompt=False)
    process = renderer._process
    assert process is not None
    known = Path(f"/proc/{process.pid}/environ").read_bytes()
    assert b"SECRET" not in known
    assert b"PATH=" in known


def test_many_dialogs_and_any_text_come_through_in_order() -> None:
    contents = [f"{i}\n\r\u2028\0\ud800'\"<&>{{{{ x }}}}{{% y %}}é🦙" for i in range(200)]
    dialogs = [[Message("user", content)] for content in contents]
    texts = Renderer("{{ messages[0].content }}", {}).render(
        "FOLDER", dialogs, add_generation_prompt=False
    )
    assert texts == contents


def test_threads_take_turns() -> None:
    renderer = Renderer("{{ messages[0].content }}", {})

    def ask(number: int) -> str:
        message = Message("user", str(number))
        return renderer.render("FOLDER", [[message]], add_generation_prompt=False)[0]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(200))) == [str(i) for i in range(200)]


def test_ctrl_c_leaves_it_alone() -> None:
    """It is sent to every process of the terminal; the chat goes on after it."""
    renderer = Renderer("{{ messages[0].content }}", {})
    renderer.render("FOLDER", [[USER]], add_generation_prompt=False)
    process = renderer._process
    assert process is not None
    os.kill(process.pid, signal.SIGINT)
    assert renderer.render("FOLDER", [[ANSWER]], add_generation_prompt=False) == ["A mule."]
    assert renderer._process is process


def test_a_process_that_was_killed_is_replaced() -> None:
    renderer = Renderer("{{ messages[0].content }}", {})
    renderer.render("FOLDER", [[USER]], add_generation_prompt=False)
    assert renderer._process is not None
    renderer._process.kill()
    renderer._process.wait()
    with pytest.raises(UserError, match="was ended"):
        renderer.render("FOLDER", [[USER]], add_generation_prompt=False)
    assert renderer.render("FOLDER", [[USER]], add_generation_prompt=False) == ["Who walks?"]


def test_an_interrupted_question_is_not_answered_later(monkeypatch: pytest.MonkeyPatch) -> None:
    renderer = Renderer("{{ messages[0].content }}", {})
    renderer.render("FOLDER", [[USER]], add_generation_prompt=False)
    main = threading.main_thread().ident
    assert main is not None
    process = renderer._process
    assert process is not None
    os.kill(process.pid, signal.SIGSTOP)  # so that no reply can come before Ctrl-C
    timer = threading.Timer(0.2, signal.pthread_kill, (main, signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        renderer.render("FOLDER", [[USER]], add_generation_prompt=False)
    timer.join()
    assert process.returncode is not None
    assert renderer.render("FOLDER", [[ANSWER]], add_generation_prompt=False) == ["A mule."]


def test_no_process_outlives_its_renderer() -> None:
    renderer = Renderer("a", {})
    renderer.render("FOLDER", [[USER]], add_generation_prompt=False)
    process = renderer._process
    assert process is not None
    del renderer
    gc.collect()
    assert process.returncode is not None
