"""Renders a folder's chat template, as a process of its own: `rendering` starts it as a script.

A template is a small program by a stranger. Here it runs in Jinja's sandbox, with so much processor
time a rendering and so much memory in all; whoever exceeds the time is ended by the system, which
the other side notices. Nothing of this package is imported, so that the process starts fast.

A line of JSON comes in, a line goes out: first the template and its variables, then dialogs.
"""

from __future__ import annotations

import contextlib
import json
import resource
import signal
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

from jinja2 import Template, TemplateError, TemplateSyntaxError, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, LoopControlExtension
from jinja2.parser import Parser
from jinja2.runtime import Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

MAX_SECONDS = 2.0
MAX_BYTES = 1 << 30
MAX_CHARACTERS = 1 << 24


class _Generation(Extension):
    """The tag around what an assistant says, which some templates have: it changes no text."""

    tags = {"generation"}  # noqa: RUF012 - the name and the kind are Jinja's

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_same"), [], [], body).set_lineno(line)

    def _same(self, caller: Macro) -> str:
        return caller()


class _PlainNamespace(Namespace):
    """A namespace without names that mean something to Python."""

    # As in Jinja `self` may be a key, so no argument has that name.
    def __init__(*args: Any, **kwargs: Any) -> None:
        for name in dict(*args[1:], **kwargs):
            _refuse_inner(name)
        Namespace.__init__(*args, **kwargs)

    def __setitem__(self, name: str, value: Any) -> None:
        _refuse_inner(name)
        super().__setitem__(name, value)


def _refuse_inner(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"the name {name!r}")


def _raise_exception(message: str) -> None:
    raise TemplateError(message)


def _now(pattern: str) -> str:
    return datetime.now().strftime(pattern)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def environment() -> ImmutableSandboxedEnvironment:
    """Jinja as chat templates expect it."""
    jinja = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, LoopControlExtension]
    )
    tables = cast(Any, jinja)  # Jinja leaves their types open
    tables.filters["tojson"] = _to_json
    tables.globals["raise_exception"] = _raise_exception
    tables.globals["strftime_now"] = _now
    tables.globals["namespace"] = _PlainNamespace
    return jinja


def refuse_inner_names(tree: nodes.Template) -> None:
    """Raise SecurityError for a template that names an attribute such as `__class__`."""
    for node in tree.find_all((nodes.Getattr, nodes.NSRef)):
        if node.attr.startswith("__"):
            raise SecurityError(f"the attribute {node.attr!r}")
    for node in tree.find_all(nodes.Getitem):
        key = node.arg.value if isinstance(node.arg, nodes.Const) else None
        if isinstance(key, str) and key.startswith("__"):
            raise SecurityError(f"the attribute {key!r}")


def _fault(error: Exception) -> dict[str, str]:
    """What the other side says of an error: its kind and one line."""
    line = " ".join(str(error).split())[:300]
    match error:
        case TemplateSyntaxError():
            return {"kind": "broken", "line": f"{line} (line {error.lineno})"}
        case SecurityError():
            return {"kind": "forbidden", "line": line}
        case MemoryError():
            return {"kind": "greedy", "line": ""}
        case TemplateError() if type(error) is TemplateError:
            return {"kind": "refused", "line": line}
        case _:
            return {"kind": "broken", "line": f"{type(error).__name__}: {line}"}


def _answer(reply: Mapping[str, object]) -> None:
    sys.stdout.write(json.dumps(reply) + "\n")
    sys.stdout.flush()


def _limit() -> None:
    """Ctrl-C is for the program that started this one; the clock's signal ends this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    with contextlib.suppress(ValueError, OSError):  # a system may not know this limit
        resource.setrlimit(resource.RLIMIT_AS, (MAX_BYTES, MAX_BYTES))


def _wind(seconds: float) -> None:
    """Processor seconds from now on, after which the system ends this process; 0 is none."""
    signal.setitimer(signal.ITIMER_PROF, seconds)


def _render(template: Template, messages: list[dict[str, str]], common: dict[str, Any]) -> str:
    _wind(MAX_SECONDS)
    parts: list[str] = []
    size = 0
    for part in template.generate(messages=messages, **common):
        size += len(part)
        if size > MAX_CHARACTERS:
            raise MemoryError
        parts.append(part)
    _wind(0)
    return "".join(parts)


def main() -> None:
    """Serve until the other side closes its end."""
    _limit()
    setup = json.loads(sys.stdin.readline())
    try:
        _wind(MAX_SECONDS)
        jinja = environment()
        refuse_inner_names(jinja.parse(setup["template"]))
        template = jinja.from_string(setup["template"])
        _wind(0)
        _answer({})
    except Exception as error:
        _answer(_fault(error))
        return
    for line in sys.stdin:
        request = json.loads(line)
        common = setup["variables"] | {
            "add_generation_prompt": request["add_generation_prompt"],
            "tools": None,
            "documents": None,
        }
        try:
            texts = [_render(template, messages, common) for messages in request["dialogs"]]
            _answer({"texts": texts})
        except Exception as error:
            _wind(0)
            _answer(_fault(error))


if __name__ == "__main__":
    main()
