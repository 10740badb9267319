"""Real signals, sent to this process and to one of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest

from arriero.training import stopping
from arriero.training.stopping import StopRequest, stop_requests


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_only_asks(number: signal.Signals) -> None:
    with stop_requests() as stop:
        assert not stop.asked
        assert stop.signal is None
        signal.raise_signal(number)
        assert stop.asked
        assert stop.signal == number


def test_the_second_acts_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "_ECHO_SECONDS", 0.0)

    def twice() -> None:
        with stop_requests():
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        twice()


def test_an_echo_of_the_first_is_not_a_second_wish() -> None:
    with stop_requests() as stop:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        assert stop.signal == signal.SIGINT


def test_handlers_are_as_before_afterwards_also_after_an_error() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]

    def fail() -> None:
        with stop_requests():
            assert signal.getsignal(signal.SIGTERM) not in before
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        fail()
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_one_inside_another_leaves_the_outer_one_working() -> None:
    with stop_requests() as outer:
        with stop_requests() as inner:
            signal.raise_signal(signal.SIGTERM)
        assert (inner.asked, outer.asked) == (True, False)
        signal.raise_signal(signal.SIGTERM)
        assert outer.asked


def test_outside_the_main_thread_nothing_is_ever_asked() -> None:
    seen: list[StopRequest] = []

    def work() -> None:
        with stop_requests() as stop:
            seen.append(stop)

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert [stop.asked for stop in seen] == [False]
    assert signal.getsignal(signal.SIGTERM) is before


_WORK = """
import time
from arriero.training.stopping import stop_requests
with stop_requests() as stop:
    print("ready", flush=True)
    while not (stop.asked and {leaves}):
        time.sleep(0.01)
        if stop.asked:
            print("asked", flush=True)
            time.sleep(0.2)
print("saved", flush=True)
raise SystemExit(128 + stop.signal)
"""


def start(leaves: bool) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _WORK.format(leaves=leaves)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_a_process_that_is_asked_saves_and_leaves() -> None:
    process = start(leaves=True)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=20)
    assert out.endswith("saved\n")
    assert process.returncode == 128 + signal.SIGTERM


def test_a_process_that_does_not_leave_dies_of_the_second() -> None:
    process = start(leaves=False)
    process.send_signal(signal.SIGTERM)
    assert process.stdout is not None
    # More than the echo's second, by its own clock.
    for _ in range(8):
        assert process.stdout.readline() == "asked\n"
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=20)
    assert "saved" not in out
    assert process.returncode == -signal.SIGTERM
