"""SIGTERM and Ctrl-C: asked to stop, a stage takes its step to the end, saves and leaves."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGTERM, signal.SIGINT)

# A launcher passes on what the terminal has sent to the whole group already: one wish, two signals.
_ECHO_SECONDS = 1.0


class StopRequest:
    """Whether somebody asked the process to stop.

    Attributes:
        asked: true from the first signal on; in a run of several ranks each knows only its own, so
            they have to agree on the step before any of them leaves.
        signal: the number of that signal; the exit code that shells expect is 128 more.
    """

    def __init__(self) -> None:
        self.asked = False
        self.signal: int | None = None


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Within it, the first SIGTERM or SIGINT only sets `asked`; the second acts at once.

    At once means as if there were no such context: SIGINT raises KeyboardInterrupt, SIGTERM ends
    the process. A second one less than a second after the first is taken for its echo. Handlers
    are as before afterwards. Outside the main thread, where Python allows no handlers, nothing is
    ever asked.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before: dict[signal.Signals, Any] = {}
    asked_at = 0.0

    def handle(number: int, _: FrameType | None) -> None:
        nonlocal asked_at
        now = time.monotonic()
        if not request.asked:
            request.asked, request.signal, asked_at = True, number, now
        elif now - asked_at >= _ECHO_SECONDS:
            restore()
            signal.raise_signal(number)

    def restore() -> None:
        for number, handler in before.items():
            # None: a handler that was not set from Python, which it can't put back either.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    for number in _SIGNALS:
        before[number] = signal.signal(number, handle)
    try:
        yield request
    finally:
        restore()
