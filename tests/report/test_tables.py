"""The final table: a row a run, or a row a metric where metrics are many."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from detente.report.run import Metric, Run, SeedStatus, Tick
from detente.report.standing import standings
from detente.report.tables import final_table


def made(name: str, metrics: int, offset: float) -> Run:
    values = {("metrics", f"m{index}"): 10.0 * index + offset for index in range(metrics)}
    told = {f"m{index}": Metric(f"Metric {index}", "%", "higher") for index in range(metrics)}
    seeds = {seed: SeedStatus("finished", 5, 1.0) for seed in (0, 1)}
    return Run(
        name,
        Path(name),
        seeds=seeds,
        ticks={seed: [Tick(5, 10, 1.0, values, 100.0 + seed)] for seed in seeds},
        metrics=told,
    )


def rows(runs: list[Run]) -> list[list[str]]:
    found = []
    for row in re.findall("<tr>(.*?)</tr>", final_table(runs, standings(runs))):
        cells = re.findall("<t[hd][^>]*>(.*?)</t[hd]>", re.sub('<span class="count">.*?</span>', "", row))
        found.append([re.sub("<[^>]+>", "", cell) for cell in cells])
    return found


@pytest.mark.parametrize("metrics", [2, 4, 5, 9])
def test_every_value_stands_where_its_run_and_its_metric_meet(metrics: int) -> None:
    runs = [made("a", metrics, 1.0), made("b", metrics, 2.0)]
    table = rows(runs)
    assert table[0][0] == ("Metric" if metrics > 4 else "Run")
    if metrics > 4:
        table = [list(column) for column in zip(*table, strict=True)]
    assert table[0][1 : metrics + 1] == [f"Metric {index} ↑ (%)" for index in range(metrics)]
    assert [table[0][-1], *(row[-1] for row in table[1:])] == ["Peak memory (MiB)", "101", "101"]
    for offset, row in zip((1, 2), table[1:], strict=True):
        assert row[0] == runs[offset - 1].name
        shown = [float(cell.split(" ±")[0]) for cell in row[1 : metrics + 1]]
        assert shown == [10 * index + offset for index in range(metrics)]
