"""How a metric was measured is on the page; values that were measured in different ways are not ranked together."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from detente.report.page import render
from detente.report.paired_differences import paired_differences
from detente.report.ranking import rankings
from detente.report.run_directory import read_run
from detente.report.stamps import describe_differences, describe_stamp

FID = {"title": "Fréchet Inception Distance", "unit": "", "better": "lower", "metric": "fid"}
STAMP = {"extractor": "inception 6726", "resizer": "bilinear, 299 pixels", "real": 10_000, "samples": 2048}


@pytest.fixture
def scored(tmp_path: Path) -> Callable[..., Path]:
    def write(name: str, values: dict[str, float], described: dict[str, dict[str, Any]], last: int = 10) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        lines = [{"seed": seed, "step": 10, "metrics": {k: v + seed for k, v in values.items()}} for seed in (0, 1)]
        lines += [{"seed": seed, "step": last, "metrics": {"other": 1.0}} for seed in (0, 1) if last > 10]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (folder / "metrics.json").write_text(json.dumps(described))
        statuses = {str(seed): {"status": "finished", "step": last, "seconds": 1.0} for seed in (0, 1)}
        (folder / "status.json").write_text(json.dumps({"seeds": statuses}))
        (folder / "run.yaml").write_text("steps: 10\n")
        return folder

    return write


def read(*folders: Path) -> list[Any]:
    return [read_run(folder, folder.name) for folder in folders]


def test_stamps_are_described_in_words() -> None:
    words = "inception 6726; bilinear, 299 pixels; 10,000 real samples; 2,048 generated samples"
    assert describe_stamp(STAMP) == words
    assert describe_stamp({"samples": 5, "pixels": "[0, 1]", "real": 3}) == (
        "pixels [0, 1]; 3 real samples; 5 generated samples"
    )
    assert describe_differences(STAMP, [STAMP, {**STAMP, "samples": 7}]) == "2,048 generated samples"
    assert describe_differences(STAMP, [STAMP]) == "" and describe_stamp({}) == ""
    assert describe_differences({}, [{"samples": 7}]) == "otherwise measured"
    extractor, other = "my.net 1b380790f8d39564 RGB", "my.net 0000000000000000 RGB"
    assert describe_differences({"extractor": extractor}, [{"extractor": "conv 1b380790f8d39564"}]) == "my.net RGB"
    assert describe_differences({"extractor": extractor}, [{"extractor": other}]) == extractor


def test_equal_stamps_are_one_metric_for_any_key_in_the_record(scored) -> None:
    stamped = {**FID, "stamp": STAMP}
    first = scored("first", {"fid": 10.0}, {"fid": stamped})
    second = scored("second", {"fid samples=2048": 30.0}, {"fid samples=2048": stamped})
    runs = read(first, second)
    (row,) = rankings(runs)
    assert row.title == "Fréchet Inception Distance" and row.measured == describe_stamp(STAMP)
    assert [outcome.interval.mean for outcome in row.outcomes if outcome.interval] == [10.5, 30.5]
    assert row.best == (0,) and len(paired_differences(runs, 0)[0]) == 1


@pytest.mark.parametrize(
    ("other", "differences"),
    [
        ({**STAMP, "samples": 50_000}, ("(2,048 generated samples)", "(50,000 generated samples)")),
        ({**STAMP, "real": 500}, ("(10,000 real samples)", "(500 real samples)")),
        ({**STAMP, "extractor": "inception 1111"}, ("(inception 6726)", "(inception 1111)")),
        ({**STAMP, "resizer": "bicubic"}, ("(bilinear, 299 pixels)", "(bicubic)")),
        ({**STAMP, "pixels": "[0, 1]"}, ("(otherwise measured)", "(pixels [0, 1])")),
        (None, ("(inception 6726; ", "(otherwise measured)")),
    ],
)
def test_other_stamps_are_never_ranked_against_each_other(other: Any, differences: tuple[str, str], scored) -> None:
    described = FID if other is None else {**FID, "stamp": other}
    first = scored("first", {"fid": 10.0}, {"fid": {**FID, "stamp": STAMP}})
    second = scored("second", {"fid": 30.0}, {"fid": described})
    runs = read(first, second)
    rows = rankings(runs)
    assert [row.only_run for row in rows] == [0, 1] and all(row.winner is None for row in rows)
    assert all(words in row.title for words, row in zip(differences, rows, strict=True))
    assert paired_differences(runs, 0) == [{}, {}]
    page = render(runs, "title", [], Path("page.html"))
    assert describe_stamp(STAMP) in page and "Only <strong>first</strong> has values for" in page


def test_two_sample_counts_in_one_run_are_two_metrics(scored) -> None:
    described = {"fid": {**FID, "stamp": STAMP}, "fid samples=9": {**FID, "stamp": {**STAMP, "samples": 9}}}
    (run,) = read(scored("run", {"fid": 10.0, "fid samples=9": 20.0}, described))
    titles = [row.title for row in rankings([run])]
    assert titles == [f"Fréchet Inception Distance ({n} generated samples)" for n in ("2,048", "9")]


def test_values_of_an_earlier_step_and_metrics_that_were_not_measured(scored) -> None:
    described = {"fid": {**FID, "stamp": STAMP}, "kid": {"title": "KID <b>", "missing": "it needs <RGB> images"}}
    (run,) = read(scored("run", {"fid": 10.0}, described, last=30))
    assert run.unmeasured == {"KID <b>": "it needs <RGB> images"}
    page = render([run], "title", [], Path("page.html"))
    assert "at step 10" in page and "KID &lt;b&gt; was not measured; it needs &lt;RGB&gt; images." in page


@pytest.mark.parametrize(
    "broken", [{"stamp": 3}, {"stamp": {"real": [1]}}, {"stamp": None}, 7, {"metric": 5, "stamp": {}}]
)
def test_a_broken_description_is_not_an_error(broken: Any, scored) -> None:
    (run,) = read(scored("run", {"fid": 10.0}, {"fid": broken}))
    assert len(rankings([run])) == 1
