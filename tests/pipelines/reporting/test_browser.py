"""The report as a browser shows it: sorted, whole, quiet, and readable for everybody."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from insituml_pipelines.report import write_report
from insituml_pipelines.reporting.blocks import Cell, Page, Section, Table
from insituml_pipelines.reporting.render import render

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
OPTIONS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
SLOW = 120_000
"""Milliseconds that a busy machine may take."""
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium to show pages in")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as found:
        opened = found.chromium.launch(executable_path=CHROMIUM, args=OPTIONS, timeout=SLOW)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def report(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report([results], tmp_path_factory.mktemp("page") / "report.html")


class Opened:
    """A page, with what it said and what it asked for."""

    def __init__(self, browser: Any, file: Path, **context: Any) -> None:
        self.said: list[str] = []
        self.requests: list[str] = []
        self.page = browser.new_page(**context)
        self.page.set_default_timeout(SLOW)
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(file.as_uri())

    def column(self, name: str) -> list[str]:
        """Return the methods of the leaderboard, from above."""
        return self.page.locator(f"{name} tbody th").all_inner_texts()


@pytest.fixture(scope="module")
def opened(browser: Any, report: Path) -> Iterator[Opened]:
    shown = Opened(browser, report, color_scheme="light")
    yield shown
    shown.page.close()


def test_it_is_quiet_and_asks_for_nothing_but_itself(opened, report) -> None:
    assert opened.said == []
    assert {url.partition(":")[0] for url in opened.requests} <= {"file", "data"}
    assert [url for url in opened.requests if url.startswith("file:")] == [report.as_uri()]


def test_every_image_is_shown(opened) -> None:
    widths = opened.page.evaluate("[...document.images].map(image => image.naturalWidth)")
    assert widths == [40] * 6


def test_tables_are_sorted_by_mouse_and_by_keyboard(opened) -> None:
    board = "#leaderboard"
    head = opened.page.locator(f"{board} thead th").nth(1)
    button = head.get_by_role("button", name="final average error")
    assert head.get_attribute("aria-sort") == "none"
    button.click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert opened.column(board) == ["joint converged", "EWC", "naive"]
    button.click()
    assert head.get_attribute("aria-sort") == "descending"
    assert opened.column(board) == ["naive", "EWC", "joint converged"]
    opened.page.locator(f"{board} thead th").first.get_by_role("button").focus()
    opened.page.keyboard.press("Enter")  # by name: E, j, n
    assert opened.column(board) == ["EWC", "joint converged", "naive"]
    assert head.get_attribute("aria-sort") == "none"


def test_a_method_that_diverged_is_sorted_behind_the_others(browser, tmp_path) -> None:
    errors = {"a": math.inf, "b": 0.3, "c": -math.inf, "d": math.inf, "e": 0.1}
    rows = [[Cell(name), Cell(str(value), value)] for name, value in errors.items()]
    table = Table("T", ["method", "error"], rows)
    file = tmp_path / "page.html"
    file.write_text(render(Page("x", [], [], [Section("t", "T", [table])])))
    shown = Opened(browser, file)
    button = shown.page.get_by_role("button", name="error")
    for expected in ("cebad", "adbec"):
        button.click()
        assert "".join(shown.column("#t")) == expected
    shown.page.close()


def test_the_reader_chooses_light_or_dark(opened) -> None:
    def background() -> str:
        return opened.page.evaluate("getComputedStyle(document.body).backgroundColor")

    light = background()
    opened.page.get_by_role("button", name="Dark colours").click()
    dark = background()
    assert light != dark
    opened.page.reload()
    assert background() == dark  # kept
    opened.page.get_by_role("button", name="Light colours").click()
    assert background() == light


@pytest.mark.parametrize(
    "look",
    [
        {"color_scheme": "light"},
        {"color_scheme": "dark", "viewport": {"width": 360, "height": 700}},
    ],
    ids=["light", "dark on a phone"],
)
def test_it_is_accessible_and_no_wider_than_the_screen(look, browser, report) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    shown = Opened(browser, report, **look)
    found = axe.run(shown.page).response["violations"]
    assert [(v["id"], [n["html"] for n in v["nodes"]][:3]) for v in found] == []
    width, screen = shown.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width <= screen
    shown.page.close()
