"""The page in a real browser, without a network."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from made_folders import everything, front, run

from polytask.reporting import write_report

CHROMIUM = (
    os.environ.get("CHROMIUM")
    or shutil.which("chromium")
    or shutil.which("chromium-browser")
    or shutil.which("google-chrome")
)
playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: install it, or name it in CHROMIUM")
DRAWN = "document.documentElement.dataset.drawn === 'yes'"
HOSTILE = ("</script><script>window.hit=1</script>", "<img src=x onerror='window.hit=2'>")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as session:
        browser = session.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    return write_report(everything(folder), folder / "report.html")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    return write_report([run(folder / "run", ("click", "watch"), seeds=1, steps=20)], folder / "report.html")


class Opened:
    """A page, and what it asked for and complained of."""

    def __init__(self, browser: Any, file: Path, **options: Any) -> None:
        self.context = browser.new_context(offline=True, **options)
        self.page = self.context.new_page()
        self.noise: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.noise.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.noise.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(file.as_uri())
        self.page.wait_for_function(DRAWN, timeout=60_000)

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    @property
    def outside(self) -> list[str]:
        return [url for url in self.asked[1:] if not url.startswith(("data:", "blob:"))]


@pytest.fixture(scope="module")
def opened(browser: Any, whole: Path) -> Iterator[Opened]:
    """One page for all that leaves it as it was: a hundred figures take seconds."""
    with Opened(browser, whole, viewport={"width": 1200, "height": 900}, accept_downloads=True) as opened:
        yield opened


def test_every_figure_is_drawn_in_silence(opened: Opened) -> None:
    found = opened.page.evaluate(
        """() => {
            const all = (selector) => [...document.querySelectorAll(selector)];
            return {
                figures: all("figure.chart").length,
                drawn: all("figure.chart").filter((one) => one.querySelectorAll("svg.marks path").length > 3).length,
                labels: all(".plot").filter((one) => one.getAttribute("aria-label")).length,
                sections: all("main > section").filter((one) => one.offsetHeight > 60).length,
                nulls: all("svg.marks text").filter((one) => /null|NaN|undefined/.test(one.textContent)).length,
                links: all("nav a").every((one) => document.querySelector(one.hash)),
            };
        }"""
    )
    assert found["figures"] > 30 and found["drawn"] == found["labels"] == found["figures"]
    assert found["nulls"] == 0 and found["sections"] == 14 and found["links"]
    assert opened.noise == [] and opened.outside == []


def test_a_phone_scrolls_in_one_direction(browser: Any, whole: Path) -> None:
    with Opened(browser, whole, viewport={"width": 360, "height": 740}, color_scheme="dark") as opened:
        width = opened.page.evaluate("document.documentElement.scrollWidth")
        assert width == 360
        wide = opened.page.evaluate(
            "[...document.querySelectorAll('.plot')].filter((one) => one.scrollWidth > one.clientWidth + 1).length"
        )
        assert wide == 0
        assert opened.noise == []


def test_light_dark_and_back(browser: Any, small: Path) -> None:
    with Opened(browser, small, color_scheme="dark") as opened:
        page = opened.page

        def look() -> tuple[str, str, str]:
            page.wait_for_function(DRAWN)
            paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
            ink = page.evaluate("document.querySelector('figure svg .role-axis-label text').getAttribute('fill')")
            return page.evaluate("document.documentElement.dataset.theme"), paper, ink

        dark = look()
        page.click("#theme")  # auto is followed by light
        light = look()
        page.click("#theme")
        assert look() == dark
        assert (dark[0], light[0]) == ("dark", "light") and dark[1] != light[1] and dark[2] != light[2]


def test_data_of_figures_and_tables_can_be_saved(opened: Opened) -> None:
    for selector, heading in (
        ("#learning figure a.csv", "step,value,series"),
        ("#scores .table a.csv", "task,metric"),
    ):
        with opened.page.expect_download() as caught:
            opened.page.locator(selector).first.click()
        assert caught.value.suggested_filename.endswith(".csv")
        assert Path(caught.value.path()).read_text(encoding="utf-8").startswith(heading)


def test_a_preference_picks_a_point(opened: Opened) -> None:
    page = opened.page

    def prefer(first: int, second: int) -> str:
        for place, value in enumerate((first, second)):
            page.locator("form.choice input").nth(place).fill(str(value))
        return str(page.locator(".picked").inner_text())

    shipped = page.locator(".picked").inner_text()
    assert "0.5 : 0.5" in shipped
    assert "0.9 : 0.1" in prefer(100, 0)
    assert "0.1 : 0.9" in prefer(0, 100)


def test_a_front_of_three_tasks_shows_two_at_a_time(browser: Any, tmp_path: Path) -> None:
    file = write_report([front(tmp_path / "front", ("click", "like", "watch"))], tmp_path / "report.html")
    with Opened(browser, file) as opened:
        before = opened.page.locator("#front svg.marks").inner_html()
        opened.page.locator("#front .vega-bindings select").first.select_option("2")
        opened.page.wait_for_timeout(200)
        assert opened.page.locator("#front svg.marks").inner_html() != before
        assert opened.page.locator("form.choice input").count() == 3
        assert opened.noise == []


def test_time_moves_the_gates(opened: Opened) -> None:
    figure = opened.page.locator("#gates figure.chart").first
    before = figure.locator("svg.marks").inner_html()
    figure.locator("input[type=range]").fill("0")
    opened.page.wait_for_timeout(200)
    assert figure.locator("svg.marks").inner_html() != before
    assert figure.locator("input[type=range]").get_attribute("aria-label") == "time"
    assert figure.locator("input[type=range]").get_attribute("aria-valuetext") == "step 8"
    assert figure.locator("label output").inner_text() == "step 8"
    figure.locator("input[type=range]").fill("1")
    assert figure.locator("label output").inner_text() == "step 16"


def test_hostile_names_run_nothing(browser: Any, tmp_path: Path) -> None:
    file = write_report(everything(tmp_path, HOSTILE), tmp_path / "report.html")
    with Opened(browser, file) as opened:
        opened.page.locator("#scores figure svg path").first.hover(force=True)
        opened.page.wait_for_timeout(200)
        assert opened.page.evaluate("window.hit === undefined")
        assert opened.noise == [] and opened.outside == []


def test_forty_tasks_stay_usable(browser: Any, tmp_path: Path) -> None:
    tasks = [f"task {number}" for number in range(40)]
    file = write_report([run(tmp_path / "run", tasks, seeds=1, steps=40)], tmp_path / "report.html")
    assert file.stat().st_size < 3e6
    with Opened(browser, file, viewport={"width": 360, "height": 740}) as opened:
        assert opened.page.evaluate("document.documentElement.scrollWidth") == 360
        chosen = opened.page.locator("#learning select").first
        before = opened.page.locator("#learning svg.marks").first.inner_html()
        chosen.select_option("task 7")
        opened.page.wait_for_timeout(200)
        assert opened.page.locator("#learning svg.marks").first.inner_html() != before
        assert opened.page.locator("#calibration figure").count() == 2
        before = opened.page.locator("#calibration svg.marks").last.inner_html()
        opened.page.locator("#calibration select").last.select_option("task 21")
        opened.page.wait_for_timeout(200)
        assert opened.page.locator("#calibration svg.marks").last.inner_html() != before
        assert opened.noise == [] and opened.outside == []


def test_print_is_light_and_whole(browser: Any, small: Path, tmp_path: Path) -> None:
    with Opened(browser, small, color_scheme="dark") as opened:
        content = opened.page.pdf(path=tmp_path / "report.pdf")
        assert len(re.findall(rb"/Type\s*/Page\b", content)) > 3
