"""The results table: one row for each run, or one for each metric if there are many."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from detente.report.page import render
from detente.report.ranking import rankings
from detente.report.recorded_run import RecordedMetric, RecordedRun, RecordedTick, SeedStatus
from detente.report.results import metrics_as_rows


def make_run(name: str, metrics: int, offset: float) -> RecordedRun:
    values = {("metrics", f"m{index}"): 10.0 * index + offset for index in range(metrics)}
    descriptions = {f"m{index}": RecordedMetric(f"Metric {index}", "%", "higher") for index in range(metrics)}
    seeds = {seed: SeedStatus("finished", 5, 1.0) for seed in (0, 1)}
    return RecordedRun(
        name,
        Path(name),
        seeds=seeds,
        ticks={seed: [RecordedTick(5, 10, 1.0, values, 100.0 + seed)] for seed in seeds},
        metrics=descriptions,
    )


def table_rows(runs: list[RecordedRun]) -> list[list[str]]:
    page = render(runs, "title", [], Path("page.html"))
    table = page.split("<table>")[1].split("</table>")[0]
    rows = []
    for row in re.findall("<tr>(.*?)</tr>", table, re.S):
        cells = re.findall("<t[hd][^>]*>(.*?)</t[hd]>", re.sub('<span class="count">.*?</span>', "", row))
        rows.append([re.sub("<[^>]+>", "", cell) for cell in cells])
    return rows


@pytest.mark.parametrize("metrics", [2, 4, 5, 9])
def test_every_value_is_in_the_row_and_column_of_its_run_and_its_metric(metrics: int) -> None:
    runs = [make_run("a", metrics, 1.0), make_run("b", metrics, 2.0)]
    table = table_rows(runs)
    transposed = metrics_as_rows(rankings(runs), runs)
    assert transposed == (metrics > 4)
    assert table[0][0] == ("Metric" if transposed else "Run")
    if transposed:
        table = [list(column) for column in zip(*table, strict=True)]
    assert table[0][1 : metrics + 1] == [f"Metric {index} ↑ (%)" for index in range(metrics)]
    assert [table[0][-1], *(row[-1] for row in table[1:])] == ["Peak memory (MiB)", "101", "101"]
    for offset, row in zip((1, 2), table[1:], strict=True):
        assert row[0] == runs[offset - 1].name
        values = [float(cell.split(" ±")[0]) for cell in row[1 : metrics + 1]]
        assert values == [10 * index + offset for index in range(metrics)]
