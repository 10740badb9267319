"""Rendering of a folder's own chat template, in a process that can be ended.

Jinja's sandbox keeps a template from files and from Python; it does not keep it from looping for
ever or from filling the memory, and a thread that does so cannot be stopped. So each template runs
in a process of its own, `render_worker`, with 2 processor seconds a rendering, a gigabyte of memory
(where the system knows such a limit; macOS does not) and 16 million characters of text. Starting
it costs a fifth of a second. Templates write the date through `strftime_now`: what they give then
depends on the day.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from arriero.records import Message, UserError
from arriero.tokenizer import render_worker

MAX_TEMPLATE = 1 << 20
"""Characters of a template."""

# Dialogs in one question: most of the time would go into waiting for one another.
_AT_ONCE = 64

# What a Python of its own needs to find its packages, and the time zone; nothing that is secret.
_PASSED = ("PATH", "PYTHONHOME", "PYTHONPATH", "LD_LIBRARY_PATH", "TZ", "LANG")

_SAID = {
    "refused": "the chat template refuses this dialog: {}",
    "forbidden": "the chat template reaches for {}, which no template may; it is not run",
    "broken": "the chat template is broken: {}",
    "greedy": "the chat template takes too much memory; it was ended",
}


class Renderer:
    """One template and the process that renders it, started at the first rendering."""

    def __init__(self, source: str, variables: Mapping[str, str]) -> None:
        self._setup = {"template": source, "variables": dict(variables)}
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._stop = lambda: None

    def render(
        self,
        where: object,
        dialogs: Sequence[Sequence[Message]],
        *,
        add_generation_prompt: bool,
    ) -> list[str]:
        """The texts of dialogs, special tokens in them as text.

        Args:
            where: what errors name.

        Raises:
            UserError: the template refuses a dialog, is broken, reaches for what it may not, or
                exceeds its limits.
        """
        texts: list[str] = []
        with self._lock:
            for start in range(0, len(dialogs), _AT_ONCE):
                if self._process is None:
                    self._start(where)
                request = {
                    "dialogs": [
                        [{"role": each.role, "content": each.content} for each in messages]
                        for messages in dialogs[start : start + _AT_ONCE]
                    ],
                    "add_generation_prompt": add_generation_prompt,
                }
                texts += self._ask(where, request)["texts"]
        return texts

    def _start(self, where: object) -> None:
        size = len(self._setup["template"])
        if size > MAX_TEMPLATE:
            raise UserError(f"{where}: a chat template of {size:,} characters is not run")
        process = subprocess.Popen(
            # -P: the modules beside the script are not to be found under their bare names.
            [sys.executable, "-P", str(Path(render_worker.__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={name: os.environ[name] for name in _PASSED if name in os.environ},
        )
        self._process = process
        self._stop = weakref.finalize(self, _end, process)
        self._ask(where, self._setup)

    def _ask(self, where: object, request: Mapping[str, object]) -> dict[str, Any]:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        reply = b""
        try:
            with contextlib.suppress(OSError):  # the process has ended: no reply comes
                process.stdin.write(json.dumps(request).encode() + b"\n")
                process.stdin.flush()
                reply = process.stdout.readline()
            if not reply.endswith(b"\n"):
                raise UserError(
                    f"{where}: the chat template runs for more than "
                    f"{render_worker.MAX_SECONDS:g} seconds or was ended; it is not used"
                )
        except BaseException:  # also Ctrl-C: a late reply must not answer the next question
            self._process = None
            self._stop()
            raise
        said: dict[str, Any] = json.loads(reply)
        if "kind" in said:
            if request is self._setup:
                self._process = None
                self._stop()
            raise UserError(f"{where}: {_SAID[said['kind']].format(said['line'])}")
        return said


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # what could not be sent any more
                pipe.close()
    process.wait()


@lru_cache(maxsize=16)
def renderer(source: str, variables: tuple[tuple[str, str], ...]) -> Renderer:
    """The renderer of a template: folders with the same one share the process."""
    return Renderer(source, dict(variables))
