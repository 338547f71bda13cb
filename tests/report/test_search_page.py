"""The page of a search: what it says, what it escapes, and that it is drawn."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from detente.errors import InvalidValue
from detente.report.search import read_search, search_lines, write_search_report
from tests.report.chromium import BROWSER, Browser
from tests.report.conftest import HOSTILE_NAME
from tests.report.page_reader import Reader

COMMAND = "detente train --game ring --method consensus --method.strength 10.0 --steps 90 --out runs/search-best"
in_the_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome on PATH")


def trial(number: int, strength: float, status: str, rungs: list[float], value: float | None = None) -> dict[str, Any]:
    parameters = {"strength": strength, "optimizer": HOSTILE_NAME if number == 2 else "adam"}
    return {
        "number": number,
        "parameters": parameters,
        "status": status,
        "error": HOSTILE_NAME if status == "failed" else "",
        "value": value,
        "rungs": rungs,
        "directory": f"trials/trial{number:04d}",
        "steps": 10 * 3 ** len(rungs),
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A search with trials of every status; two of them have records."""
    trials = [
        trial(0, 0.5, "complete", [1, 2], 4.0),
        trial(1, 10.0, "complete", [2, 5], 7.5),
        trial(2, 80.0, "pruned", [0.25]),
        trial(3, 99.0, "failed", []),
        trial(4, 9.0, "unfinished", [3]),
    ]
    record = {
        "over": {"strength": "log:0.1:100", "optimizer": "choice:adam,sgd"},
        "metric": "modes_covered",
        "title": "Modes covered",
        "unit": "modes",
        "better": "higher",
        "pruning": True,
        "seed": 0,
        "budget": "900 gradient evaluations",
        "run": {"steps": 90, "seconds": None, "seeds": [1000, 1001]},
        "planned": 9,
        "importance": {"optimizer": 0.2, "strength": 0.8},
        "trials": trials,
        "best": 1,
        "command": COMMAND,
        "python": "",
    }
    (tmp_path / "search.json").write_text(json.dumps(record), encoding="utf-8")
    for number in (0, 1):
        lines = [
            {"seed": seed, "step": step, "metrics": {"modes_covered": step / 10 + seed + number}}
            for step in (10, 30, 90)
            for seed in (0, 1)
        ]
        directory = tmp_path / f"trials/trial{number:04d}"
        directory.mkdir(parents=True)
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (directory / "metrics.jsonl").write_text(text + '{"seed": 0, "st', encoding="utf-8")
    return tmp_path


def charts_of(page: str) -> list[dict[str, Any]]:
    reader = Reader(page)
    return json.loads(next(script for script in reader.scripts if script.lstrip().startswith("{")))["charts"]


def test_the_page_shows_the_results(folder: Path) -> None:
    page = write_search_report(folder).read_text("utf-8")
    reader = Reader(page)
    assert reader.headings[0] == ("h1", "Modes covered: 7.5 modes, with strength 10, optimizer adam.")
    assert COMMAND in reader.text and "<script>alert" not in page
    text = " ".join(reader.text.split())
    assert "5 of 9 trials: 2 completed the budget, 1 ended early, 1 failed, 1 unfinished." in text
    assert "the mean over 2 seeds after 900 gradient evaluations. The search has not ended" in text
    importance = page[page.index("Importance of each setting") :]
    assert importance.index("log:0.1:100") < importance.index("choice:adam,sgd")  # the larger first
    assert re.findall(r'<th scope="row">(\d+)</th>', page) == ["1", "0", "2", "4", "3"]
    assert re.findall(r"<td>(7\.5|0\.25)</td>", page) == ["7.5", "0.25"]


def test_the_charts_show_every_value(folder: Path) -> None:
    charts = charts_of(write_search_report(folder).read_text("utf-8"))
    titles = [chart["title"] for chart in charts]
    assert titles == ["Modes covered over trials", "Over strength", "Over optimizer", "Modes covered over steps"]
    pruned, complete, best = charts[0]["figure"]["data"]
    assert (pruned["x"], pruned["y"]) == ([2], [0.25]) and (complete["x"], complete["y"]) == ([0, 1], [4, 7.5])
    assert best["y"] == [4, 7.5]
    assert charts[1]["figure"]["layout"]["xaxis"]["type"] == "log"
    assert charts[1]["figure"]["data"][1]["x"] == [0.5, 10]
    assert charts[2]["figure"]["layout"]["xaxis"]["type"] == "category"
    curves = charts[3]["figure"]["data"]
    assert [curve["y"] for curve in curves] == [[1.5, 3.5, 9.5], [2.5, 4.5, 10.5]]  # means; the best on top


def test_the_terminal_shows_the_same_results(folder: Path) -> None:
    lines = search_lines(read_search(folder))
    assert lines[0] == "Modes covered: 7.5 modes, with strength 10, optimizer adam."
    assert "Importance: strength 80 %, optimizer 20 %." in lines and lines[-1] == f"Train with it: {COMMAND}"


def test_a_search_without_an_end_has_a_page_and_a_broken_record_is_one_line(folder: Path) -> None:
    record = read_search(folder)
    (folder / "search.json").write_text(json.dumps({**record, "trials": [], "best": None, "command": ""}))
    page = write_search_report(folder).read_text("utf-8")
    assert "No trial has been completed yet." in page and charts_of(page) == []
    (folder / "search.json").write_text("{")
    with pytest.raises(InvalidValue, match="a folder with a readable search.json"):
        write_search_report(folder)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.mark.slow
@in_the_browser
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_is_drawn_fits_and_logs_no_errors(browser: Browser, folder: Path, width: int) -> None:
    page = write_search_report(folder)
    browser.open(page, width)
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run("document.querySelectorAll('[data-chart] .main-svg').length") >= 4
    assert browser.messages() == [] and browser.requests() == [page.as_uri()]
    browser.run("document.querySelector('[data-copy]').click()")
    assert browser.run("getSelection().toString()") == COMMAND
