"""The page in headless Chromium: it is drawn, fetches nothing, fits a phone, and its controls work."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from detente.report.page import write_report
from tests.report.chromium import BROWSER, Browser

pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome on PATH")]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def page(comparison: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report([comparison], tmp_path_factory.mktemp("report") / "report.html")


def move(name: str, position: int) -> str:
    slider = f"document.querySelector('[data-slider=\"{name}\"]')"
    return f"{slider}.value = {position}; {slider}.dispatchEvent(new Event('input'))"


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_drawn_fits_and_logs_no_errors(browser: Browser, page: Path, width: int, scheme: str) -> None:
    browser.open(page, width, scheme=scheme)
    assert browser.run("innerWidth") == width
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run("document.querySelectorAll('[data-chart] .main-svg').length") >= 7
    assert browser.run("document.querySelectorAll('[data-panel] .main-svg').length") >= 8
    assert browser.messages() == []
    assert browser.requests() == [page.as_uri()]


@pytest.mark.parametrize("name", ["samples", "spectra"])
def test_slider_and_seed_change_every_panel(browser: Browser, page: Path, name: str) -> None:
    browser.open(page, 1280)
    panels = [f'[data-panel="{name}-{run}"] .scatterlayer' for run in range(4)]
    last = [browser.inner_html(panel) for panel in panels]
    browser.act(move(name, 0))
    first = [browser.inner_html(panel) for panel in panels]
    assert all(a and b and a != b for a, b in zip(first, last, strict=True))
    assert browser.run(f"document.querySelector('[data-step=\"{name}\"]').textContent") == "0"
    seed = f"document.querySelector('[data-seed=\"{name}\"]')"
    browser.act(f"{seed}.value = '2'; {seed}.dispatchEvent(new Event('change'))")
    assert all(browser.inner_html(panel) != before for panel, before in zip(panels, first, strict=True))


def test_axis_log_scale_and_hiding_a_run_change_the_curves(browser: Browser, page: Path) -> None:
    browser.open(page, 1280)
    first = "document.querySelector('[data-chart=\"0\"]')"
    assert browser.run(f"{first}.layout.xaxis.title.text") == "step"
    steps = browser.run(f"{first}.data.find(t => t.meta.run === 1).x")
    browser.act("document.querySelector('[name=axis][value=\"1\"]').click()")
    assert browser.run(f"{first}.layout.xaxis.title.text") == "gradient evaluations"
    assert browser.run(f"{first}.data.find(t => t.meta.run === 1).x") == [4 * step for step in steps]
    box = browser.run("document.querySelector('[data-log]').dataset.log")
    kind = f"document.querySelector('[data-chart=\"{box}\"]').layout.yaxis.type"
    before = browser.run(kind)
    browser.act("document.querySelector('[data-log]').click()")
    assert {before, browser.run(kind)} == {"linear", "log"}
    browser.act("document.querySelector('.chip').click()")
    assert browser.run(f"{first}.data.filter(t => t.meta.run === 0).every(t => t.visible === false)")
    assert browser.run("document.querySelector('[data-panel=\"samples-0\"]').closest('figure').hidden")
    assert browser.messages() == []


def test_strings_of_a_run_are_not_interpreted_as_html(browser: Browser, page: Path) -> None:
    browser.open(page, 1280)
    assert browser.run("document.querySelectorAll('h1 b, table i, nav i').length") == 0
    assert "simul<i>taneous & \"co'" in browser.run("document.querySelector('nav').textContent")
    assert browser.run("document.querySelector('h1').textContent") == "ring & <b>grid"


def test_images_follow_the_slider(browser: Browser, make_run: Any, tmp_path: Path) -> None:
    run = make_run(tmp_path / "digits", pictures=True, seeds=(0,))
    browser.open(write_report([run], tmp_path / "report.html"), 390)
    source = "document.querySelector('[data-panel] img').src"
    last = browser.run(source)
    assert last.startswith("data:image/png;base64,")
    assert browser.run("document.querySelector('[data-panel] img').decode().then(() => true)")
    browser.act(move("samples", 0))
    assert browser.run(source) != last
    assert browser.run("document.querySelector('[data-panel] img').alt") == "samples of digits, seed 0, step 0"
    assert browser.messages() == [] and browser.requests()[0].startswith("file:")
