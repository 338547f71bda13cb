"""The page of a rescue: what it says, what it escapes, and what it does with missing or broken files."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from detente.report import rescue_charts
from detente.report.rescue import write_rescue_report
from detente.report.rescue_record import RecordedFinding
from tests.report.chromium import BROWSER, Browser
from tests.report.conftest import HOSTILE_NAME, fabricate
from tests.report.page_reader import Reader

COMMAND = "detente train --game ring --method alternating --method.learning_rate 1e-3 --out runs/cured"
in_the_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome on PATH")
SECTIONS = ["Found", "Before and after", "The numbers", "Signals over time", "Trials", "How to use it"]


def quality(good: float) -> dict[str, float]:
    """Return the quality of samples that are as good as real ones if `good` is 1."""
    return {"variance": good, "coverage": good, "precision": 0.9, "distance": 1 - good, "cells": good, "spread": good}


def points(steps: int, count: int, good: float, signals: bool = False, diverged: bool = False) -> list[dict[str, Any]]:
    """Return observations as `ObservedRun` writes them; `good` is reached at the end."""
    result = []
    for k in range(count + 1):
        at = k / count
        point: dict[str, Any] = {"step": round(at * steps), "losses": [{"generator": 0.7, "discriminator": 1.4}]}
        if diverged and k == count:
            result.append(point | {"diverged_at": steps, "cause": "the loss of the generator is not finite"})
            continue
        point |= {"quality": quality(0.3 + (good - 0.3) * at), "score": good * at}
        if signals:
            values = {"spread.variance": 0.3 - 0.25 * at, "slope.mean": 1 + 0.001 * at, "rotation.real": 1 + at}
            values |= {f"oscillation.cell_{i}": abs(math.sin(i + k)) for i in range(4)}
            point["signals"] = values
        result.append(point)
    return result


def finding(
    failure: str, certainty: float, evidence: str = "The samples' variance is 0.05 of the data's."
) -> dict[str, Any]:
    return {
        "failure": failure,
        "evidence": evidence,
        "certainty": certainty,
        "remedy": "Use --method.learning_rate 1e-3.",
    }


def attempt(folder: Path, steps: int, good: float, **options: Any) -> dict[str, Any] | None:
    """Write a run with observations, and return its last quality."""
    signals, diverged = options.pop("signals", False), options.pop("diverged", False)
    fabricate(folder, quality=good, steps=steps, seeds=(0,), diverged={0: steps} if diverged else None, **options)
    observed = points(steps, 6, good, signals, diverged)
    (folder / "observations.json").write_text(json.dumps(observed))
    return next((point["quality"] for point in reversed(observed) if "quality" in point), None)


def make_rescue(folder: Path, verdict: str = "collapse", cured: bool = True, **options: Any) -> Path:
    """Write a rescue as the driver does: a short run, a cure with a full run, one that was dropped, one diverged."""
    before = attempt(folder / "before", 1200, 0.95 if verdict == "healthy" else 0.1, signals=True, **options)
    content: dict[str, Any] = {
        "steps": 2000,
        "budget": 3.0,
        "cost": 0.6,
        "verdict": verdict,
        "cured": False,
        "findings": [],
        "before": {"directory": "before", "quality": before},
        "trials": [],
        "best": None,
    }
    if verdict != "healthy":
        content["findings"] = [finding("collapse", 0.9), finding("oscillation or limit cycle", 0.3, "It may swing.")]
        names = {"lower rates": (2000, 0.95, False), "more turns": (500, 0.5, False), "larger batch": (500, 0.4, True)}
        for number, (name, (steps, good, diverged)) in enumerate(names.items(), 1):
            directory = f"trials/{number}-{name.replace(' ', '-')}"
            reached = attempt(folder / directory, steps, good, diverged=diverged, **options)
            content["trials"].append(
                {
                    "name": name,
                    "directory": directory,
                    "outcome": f"full run of {steps} steps" if number == 1 else f"dropped after {steps} of 2000 steps",
                    "cost": steps / 2000,
                    "score": -math.inf if diverged else good,
                    "quality": reached,
                    "command": COMMAND,
                    "python": "game = game.changed()\nmethod = methods.alternating(learning_rate=1e-3)",
                }
            )
        content |= {"best": "lower rates", "cured": cured, "cost": 2.1}
    (folder / "rescue.json").write_text(json.dumps(content, indent=1))
    return folder


def read(folder: Path) -> Reader:
    return Reader(write_rescue_report(folder).read_text(encoding="utf-8"))


def sections(page: Reader) -> list[str]:
    return [text for tag, text in page.headings if tag == "h2"]


def verdict(page: Reader) -> str:
    return next(text for tag, text in page.headings if tag == "h1")


def change(folder: Path, **entries: Any) -> None:
    path = folder / "rescue.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


@pytest.fixture(scope="module")
def cured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_rescue(tmp_path_factory.mktemp("rescue") / "ring")


def test_findings_trials_and_the_cure_are_shown(cured: Path) -> None:
    page = read(cured)
    assert (cured / "report.html").exists()
    assert verdict(page) == "This GAN failed (collapse), and was cured by: lower rates."
    assert sections(page) == SECTIONS
    text = re.sub(r"\s+", " ", page.text)
    assert "As it was, after 1,200 of 2,000 steps, its samples reach 10 % of the data’s regions and have 0.1 of" in text
    assert "With the cure, after 2,000 steps, they reach 95 % of the data’s regions" in text
    assert "It cost 2.1 of at most 3 runs’ compute." in text
    assert "Collapse 90 %" in text and "30 %mentioned only, not treated" in text
    assert COMMAND in text and "trials/1-lower-rates" in text
    assert "diverged at step 500: the loss of the generator is not finite" in text


def test_rows_of_trials_have_steps_compute_and_quality(cured: Path) -> None:
    page = write_rescue_report(cured).read_text(encoding="utf-8")
    table = page.partition("<caption>Every trial</caption>")[2].partition("</table>")[0]
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL) for row in table.split("<tr")[2:]]
    cells = [[re.sub("<[^>]*>", "", cell).strip() for cell in row] for row in rows]
    assert [row[:4] for row in cells] == [
        ["1,200", "0.6", "10 %", "0.1"],
        ["2,000", "1", "95 %", "0.95"],
        ["500", "0.25", "50 %", "0.5"],
        ["500", "0.25", "38 %", "0.38"],  # its last finite observation
    ]


def test_before_and_after_are_shown_at_the_nearest_steps(cured: Path) -> None:
    page = read(cured)
    shown = [(int(a["data-frame"] or 0), int(a["data-at"] or 0)) for _, a in page.tags if "data-frame" in a]
    # of the fabricated runs: before at 0, 400, 800 and 1200, after at 0, 666, 1333 and 2000
    assert shown == [(1, 0), (0, 0), (1, 800), (0, 666), (1, 1200), (0, 1333), (1, 1200), (0, 2000)]
    data = json.loads(page.scripts[0])
    assert [run["name"] for run in data["runs"]] == ["lower rates", "as it was", "more turns", "larger batch"]
    assert [panel["kind"] for panel in data["samples"]["panels"]] == ["points", "points"]


def test_every_attempt_is_in_the_chart_of_scores(cured: Path) -> None:
    charts = json.loads(read(cured).scripts[0])["charts"]
    (score,) = [chart for chart in charts if chart["title"] == "Score" and chart["height"]]
    lines = {trace["name"]: (trace["x"][-1], trace["y"][-1]) for trace in score["figure"]["data"]}
    assert lines == {
        "lower rates": (2000, 0.95),
        "as it was": (1200, 0.1),
        "more turns": (500, 0.5),
        "larger batch": (417, 0.33333),
    }
    assert len({trace["line"]["color"] for trace in score["figure"]["data"]}) == 4


def test_signals_that_support_or_vary_are_shown_and_others_folded(cured: Path) -> None:
    page = write_rescue_report(cured).read_text(encoding="utf-8")
    charts = json.loads(Reader(page).scripts[0])["charts"]
    shown, folded = page.partition("<details>")[::2]
    titles = {chart["title"]: f'data-chart="{index}"' for index, chart in enumerate(charts)}
    assert titles["Cell, each"] in shown and titles["Mean"] in folded.partition("</section>")[0]
    assert len(charts[int(titles["Cell, each"].split('"')[1])]["figure"]["data"]) == 4
    headings = [text for tag, text in Reader(page).headings if tag == "h3"]
    assert [heading.strip() for heading in headings[1:3]] == ["Losses", "Spread"]


def test_a_signal_supports_the_findings_that_its_file_or_their_evidence_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "width.py").write_text('class Width:\n    """How wide."""\n    failure = "collapse"\n')
    monkeypatch.setattr(rescue_charts, "SIGNALS", tmp_path)
    rescue_charts._source.cache_clear()
    findings = [RecordedFinding("collapse", "The variance is 0.1 of the data's.", 0.9, "", True)]
    support = [
        rescue_charts._supports(*key, findings) for key in (("width", "variance"), ("width", "all"), ("other", "all"))
    ]
    rescue_charts._source.cache_clear()
    assert support[0] > support[1] > support[2] == 0


def test_a_healthy_gan_gets_a_short_page(tmp_path: Path) -> None:
    folder = make_rescue(tmp_path / "fine", verdict="healthy")
    page = read(folder)
    assert verdict(page) == "This GAN is healthy."
    assert sections(page) == ["Found", "Samples over time", "The numbers", "Signals over time"]
    assert "No failure was found, so nothing was changed." in page.text and "Nothing is wrong." in page.text
    change(folder, conclusion="The samples are not good yet: this GAN may only need longer.")
    assert verdict(read(folder)) == "The samples are not good yet: this GAN may only need longer."


def test_without_a_cure_the_best_is_named(tmp_path: Path) -> None:
    folder = make_rescue(tmp_path / "ill", cured=False)
    page = read(folder)
    assert verdict(page) == "This GAN failed (collapse), and none of the 3 tried cures worked."
    assert "Not a cure, but the best trial: lower rates." in page.text
    change(folder, best=None)
    page = read(folder)
    assert sections(page)[1] == "Samples over time" and "No trial is better" in page.text


def test_the_reason_why_a_trial_is_no_cure_is_shown(tmp_path: Path) -> None:
    folder = make_rescue(tmp_path / "ill", cured=False)
    change(folder, judgement="precision 0.29, coverage 0.9", faults=["only 29% of the samples lie near real ones", "x"])
    page = write_rescue_report(folder).read_text(encoding="utf-8")
    assert "On fresh samples: precision 0.29, coverage 0.9." in page
    assert "This is not a cure, since only 29% of the samples lie near real ones; x." in page


def test_cures_that_were_never_started_are_not_counted(tmp_path: Path) -> None:
    folder = make_rescue(tmp_path / "ill", cured=False)
    shutil.rmtree(folder / "trials" / "2-more-turns")
    shutil.rmtree(folder / "trials" / "3-larger-batch")
    assert verdict(read(folder)) == "This GAN failed (collapse), and the only tried cure did not work."
    shutil.rmtree(folder / "trials")
    assert verdict(read(folder)) == "This GAN failed (collapse), and the budget is too small for any cure."


def test_a_stopped_rescue_is_reported_as_stopped(tmp_path: Path) -> None:
    folder = make_rescue(tmp_path / "stopped")
    change(folder, trials=[], best=None, cured=False)
    page = read(folder)
    assert verdict(page) == "This rescue has not ended; found so far: collapse."
    shutil.rmtree(folder / "trials")
    assert verdict(read(folder)) == "This GAN failed (collapse), and no cure that détente knows applies."


def test_a_game_without_pictures_has_curves(tmp_path: Path) -> None:
    page = read(make_rescue(tmp_path / "line", snapshots=0))
    assert "This game’s samples have no pictures; the curves show" in page.text
    assert not [a for _, a in page.tags if "data-frame" in a] and [a for _, a in page.tags if "data-chart" in a]


def test_images_stand_side_by_side(tmp_path: Path) -> None:
    page = read(make_rescue(tmp_path / "digits", pictures=True))
    panels = json.loads(page.scripts[0])["samples"]["panels"]
    assert [panel["kind"] for panel in panels] == ["images", "images"]
    assert len([a for _, a in page.tags if "data-frame" in a]) == 8
    assert "Images are shown" in page.text and "rings" not in page.text


def test_a_value_that_stays_zero_has_an_axis_around_zero() -> None:
    line = rescue_charts.Line("zero", 0, [0, 1], [0.0, 0.0])
    (chart,) = rescue_charts._chart("Zero", [line])
    assert chart["figure"]["layout"]["yaxis"]["range"] == [-0.1, 0.1]


def test_every_string_is_escaped(tmp_path: Path) -> None:
    folder = make_rescue(tmp_path / "<b>ring")
    content = json.loads((folder / "rescue.json").read_text())
    content["trials"][0] |= {
        "name": HOSTILE_NAME,
        "outcome": HOSTILE_NAME,
        "command": HOSTILE_NAME,
        "python": HOSTILE_NAME,
    }
    content["findings"] = [finding(HOSTILE_NAME, 0.9, HOSTILE_NAME) | {"remedy": HOSTILE_NAME}]
    change(folder, **content | {"best": HOSTILE_NAME, "verdict": HOSTILE_NAME})
    observed = points(1200, 4, 0.1)
    for point in observed:
        point["signals"] = {f"{HOSTILE_NAME}.{HOSTILE_NAME}": 1.0 + point["step"]}
    (folder / "before" / "observations.json").write_text(json.dumps(observed))
    page = read(folder)
    assert len(page.scripts) == 4 and not {"b", "alert"} & {tag for tag, _ in page.tags}
    assert not re.search("[<>&]", page.scripts[0])
    assert verdict(page).count(HOSTILE_NAME) == 2
    charts = json.loads(page.scripts[0])["charts"]
    assert not [t for chart in charts for t in chart["figure"]["data"] if "<" in t["name"] or "%{" in t["name"]]


def test_nothing_is_fetched(cured: Path) -> None:
    page = read(cured)
    links = [value for _, a in page.tags for name in ("src", "href", "action", "srcset") if (value := a.get(name))]
    assert all(link.startswith("data:") for link in links)
    (policy,) = [a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy and policy.startswith("default-src 'none'; script-src 'sha256-")


@pytest.mark.parametrize("missing", ["before", "trials", "rescue.json", "before/observations.json", "before/samples"])
def test_missing_files_do_not_stop_the_page(tmp_path: Path, missing: str) -> None:
    folder = make_rescue(tmp_path / "ring")
    path = folder / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert "Found" in sections(read(folder))


def test_an_empty_directory_has_a_page(tmp_path: Path) -> None:
    page = read(tmp_path)
    assert verdict(page) == "This rescue has not ended." and "rescue.json is missing or broken." in page.text


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"trials": 3, "findings": {}, "before": [], "steps": "x"}'])
@pytest.mark.parametrize("name", ["rescue.json", "before/observations.json", "trials/1-lower-rates/observations.json"])
def test_broken_files_do_not_stop_the_page(tmp_path: Path, name: str, text: str) -> None:
    folder = make_rescue(tmp_path / "ring")
    (folder / name).write_text(text)
    assert "Found" in sections(read(folder))


def test_broken_entries_are_left_out(tmp_path: Path) -> None:
    folder = make_rescue(tmp_path / "ring")
    change(
        folder,
        trials=[3, None, {"name": "bare"}],
        findings=[None, {"failure": "collapse"}],
        best="bare",
        steps=math.nan,
    )
    observed: list[Any] = [3, {"step": "x"}, {"step": 5, "quality": 3, "signals": {"a": None, "b.c": math.inf}}]
    (folder / "before" / "observations.json").write_text(json.dumps(observed))
    page = read(folder)
    assert "bare" in page.text and sections(page)[1] == "Before and after"


def test_the_page_imports_no_torch() -> None:
    script = "import sys, detente.report.rescue; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.mark.slow
@in_the_browser
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_drawn_fits_and_logs_no_errors(browser: Browser, cured: Path, width: int, scheme: str) -> None:
    page = write_rescue_report(cured)
    browser.open(page, width, scheme=scheme)
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run("document.querySelectorAll('[data-frame] .main-svg').length") >= 8
    charts = "document.querySelectorAll('[data-chart]')"
    assert browser.run(f"[...{charts}].every(c => !!c.closest('details') !== !!c.querySelector('.main-svg'))")
    assert browser.messages() == []
    assert browser.requests() == [page.as_uri()]


@pytest.mark.slow
@in_the_browser
def test_folded_charts_are_drawn_when_they_are_opened(browser: Browser, cured: Path) -> None:
    browser.open(write_rescue_report(cured), 1280)
    count = "document.querySelectorAll('details [data-chart] .main-svg').length"
    assert browser.run(count) == 0
    browser.run("document.querySelector('summary').click(); new Promise(done => setTimeout(done, 300))")
    assert browser.run(count) > 0 and browser.messages() == []


@pytest.mark.slow
@in_the_browser
def test_images_are_shown(browser: Browser, tmp_path: Path) -> None:
    browser.open(write_rescue_report(make_rescue(tmp_path / "digits", pictures=True)), 1280)
    images = "[...document.querySelectorAll('[data-frame] img')]"
    assert browser.run(f"Promise.all({images}.map(i => i.decode())).then(() => {images}.length)") == 8
    assert browser.messages() == []


@pytest.mark.slow
@in_the_browser
def test_the_command_can_be_copied(browser: Browser, cured: Path) -> None:
    browser.open(write_rescue_report(cured), 1280)
    browser.run("document.querySelector('[data-copy]').click()")
    assert browser.run("getSelection().toString()") == COMMAND
