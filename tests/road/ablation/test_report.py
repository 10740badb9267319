"""The page of an ablation: what it says, and how it looks in a browser."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from arriero.road.ablation.naming import change, gib, signed

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.mark.parametrize(
    ("size", "shown"),
    [(2 * 2**30, "2 GiB"), (576 * 2**20, "576 MiB"), (48 * 2**10, "48 KiB"), (100, "0.0977 KiB"),
     (int(12.375 * 2**30), "12.4 GiB"), (6336 * 2**30, "6,336 GiB")],
)  # fmt: skip
def test_bytes_in_words(size: float, shown: str) -> None:
    assert gib(size) == shown


def test_signs() -> None:
    assert (signed(0.0123), signed(-0.5)) == ("+0.012", "−0.500")
    assert (change(0.0123), change(-0.0032), change(-0.00001)) == ("+1.2%", "−0.3%", "0.0%")


@pytest.mark.slow
def test_the_page_says_what_the_results_say(finished: Path) -> None:
    page = (finished / "report.html").read_text()
    results = json.loads((finished / "results.json").read_text())
    for variant in results["variants"][:3]:
        assert f"{variant['long_loss']['mean']:.3f}" in page
        assert f"{variant['parameters']:,}" in page
    for row in results["positions"]:
        assert f"{row['half']:.3f}" in page
    text = re.sub(r"<[^>]+>", " ", page)
    for words in ("Table 16", "Table 18", "Figure 24", "Memory ends first for MHA", "no room"):
        assert words in text
    assert "http://" not in re.sub(r"http://www\.w3\.org/\S+", "", page)
    assert "https://" not in page


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_overflows(page: Page, finished: Path, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.goto((finished / "report.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wide = "all => all.filter((e) => e.scrollWidth > e.clientWidth + 1).length"
    assert page.locator(".card, .tile").evaluate_all(wide) == 0
    sizes = page.locator("svg.plot").evaluate_all(
        "all => all.map((svg) => [svg.clientWidth, svg.clientHeight])"
    )
    assert len(sizes) >= 11
    assert all(w > 200 and h > 80 for w, h in sizes)
    for link in page.locator("nav a").all():
        target = link.get_attribute("href")
        assert target
        assert page.locator(target).count() == 1
