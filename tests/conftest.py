"""What all tests share: no network, no window, fast tests first, a browser for those that ask."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Request

# Before anything imports the libraries that read them.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["MPLBACKEND"] = "Agg"
# Models of tests are so small that threads would only wait for one another.
os.environ["OMP_NUM_THREADS"] = "1"

# A job in the background of a shell ignores Ctrl-C, and all that it starts does so too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Chromium asks for updates and the like by itself unless told not to; as root it has no sandbox.
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the slow tests last, so that a plain mistake shows within seconds."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's Chromium, without a window."""
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.fail('no Chromium on the path: install it, or run with -m "not browser"')
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh page; an error in its scripts and a request to the network fail the test."""
    page = browser.new_page()
    faults: list[str] = []

    def note_request(request: Request) -> None:
        if not request.url.startswith(("about:", "blob:", "data:", "file:", "http://127.0.0.1")):
            faults.append(f"went to the network: {request.url}")

    page.on("pageerror", lambda error: faults.append(f"script error: {error}"))
    page.on("request", note_request)
    yield page
    page.close()
    assert not faults, "\n".join(faults)
