"""The report in a browser: nothing overflows, nothing is fetched, dark and print stay readable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest

from arriero.road.report import write_report

from .synthetic_run import build_run

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

_CONTRASTS = """() => {
    const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const light = (colour) => {
        const [r, g, b] = parse(colour).slice(0, 3).map((v) => v / 255)
            .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = (element) => {
        for (let e = element; e; e = e.parentElement) {
            const colour = getComputedStyle(e).backgroundColor;
            const parts = parse(colour);
            if (colour.startsWith("rgb") && (parts.length === 3 || parts[3] === 1)) return colour;
        }
        return "rgb(255, 255, 255)";
    };
    return [...document.querySelectorAll("h1, h2, h3, p, dt, dd, td, th, li, a, figcaption, text")]
        .filter((element) => element.textContent.trim())
        .map((element) => {
            const style = getComputedStyle(element);
            const front = light(element.tagName === "text" ? style.fill : style.color);
            const back = light(ground(element));
            return (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
        });
}"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_report(build_run(tmp_path_factory.mktemp("runs"))).as_uri()


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_overflows_and_the_console_stays_silent(
    page: Page, report: str, width: int
) -> None:
    messages: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.on("request", lambda request: requests.append(request.url))
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(report)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("details").evaluate_all("all => all.forEach((one) => { one.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # Only tables may be wider than their card, and they scroll inside it.
    wide = "all => all.filter((e) => e.scrollWidth > e.clientWidth + 1).length"
    assert page.locator(".card, .tile, .bars, .answers, .sample").evaluate_all(wide) == 0
    assert messages == []
    assert [url for url in requests if not url.startswith("data:")] == [report]


def test_every_figure_is_drawn_and_every_contents_line_leads_to_its_section(
    page: Page, report: str
) -> None:
    page.emulate_media(reduced_motion="reduce")  # no smooth scrolling: the clicks needn't wait
    page.goto(report)
    sizes = page.locator("svg.plot").evaluate_all(
        "all => all.map((svg) => [svg.clientWidth, svg.clientHeight])"
    )
    assert len(sizes) > 30
    assert all(width > 200 and height > 80 for width, height in sizes)
    for link in page.locator("nav a").all()[::3]:
        link.click()
        assert page.locator(":target h2").inner_text() == link.inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_can_be_read_in_light_and_in_dark(
    page: Page, report: str, scheme: Literal["light", "dark"]
) -> None:
    page.emulate_media(color_scheme=scheme)
    page.goto(report)
    contrasts = page.evaluate(_CONTRASTS)
    assert len(contrasts) > 300
    assert min(contrasts) >= 4.5  # WCAG AA


def test_print_is_dark_on_white_even_where_the_screen_is_dark(page: Page, report: str) -> None:
    page.emulate_media(media="print", color_scheme="dark")
    page.goto(report)
    colours = page.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    )
    assert colours == ["rgb(35, 38, 43)", "rgb(255, 255, 255)"]
