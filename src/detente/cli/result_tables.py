"""Tables and sentences about the results of runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from detente.report.comparison import compare_to_baseline
from detente.report.comparison_text import comparison_sentences, describe_pair, describe_tests, tuning_lines
from detente.report.formatting import format_interval
from detente.report.ranking import rankings
from detente.report.recorded_run import RecordedRun
from detente.report.results import metrics_as_rows
from detente.report.run_directory import read_runs


def outcome_table(paths: list[Path]) -> Table:
    """Return the final metrics of runs with their 95 % intervals over seeds, as on the report's page.

    In a comparison's folder, each run also has its difference from the baseline.
    """
    runs = read_runs(paths)
    ranked, comparison = rankings(runs), compare_to_baseline(runs, paths)
    if not ranked:
        return _losses(runs)
    arrows = {"higher": " ↑", "lower": " ↓"}
    metrics = [row.title + arrows.get(row.better, "") + (f"\n{row.unit}" if row.unit else "") for row in ranked]
    baseline = comparison.baseline if comparison else None
    names = [f"{run.name}\n(baseline)" if index == baseline else run.name for index, run in enumerate(runs)]
    rows = []
    for index in range(len(runs)):
        cells = []
        for row, ranking in enumerate(ranked):
            outcome = ranking.outcomes[index]
            diverged = f"{len(outcome.diverged)} diverged" if outcome.diverged else ""
            pair = comparison.pairs[row].get(index) if comparison else None
            lines = [format_interval(outcome.interval) if outcome.interval else "–", diverged]
            cells.append("\n".join(filter(None, [*lines, *(describe_pair(pair) if pair else ())])))
        rows.append(cells)
    title = "At the end (mean ± 95 % interval over seeds; ↑ higher is better)"
    if metrics_as_rows(ranked, runs):
        labels = [metric.replace("\n", ", ") for metric in metrics]
        return _table(title, "metric", names, labels, list(zip(*rows, strict=True)))
    return _table(title, "run", metrics, names, rows)


def _losses(runs: Sequence[RecordedRun]) -> Table:
    """Return the last losses of each run, for games without a metric."""
    players = list(dict.fromkeys(name for run in runs for name in _last_losses(run)))
    rows = [
        [f"{_last_losses(run)[name]:.4g}" if name in _last_losses(run) else "–" for name in players] for run in runs
    ]
    title = "Nothing was measured, since no metric applies to this game. Losses at the end (mean over seeds)"
    return _table(title, "run", players, [run.name for run in runs], rows)


def _last_losses(run: RecordedRun) -> dict[str, float]:
    """Return the mean over seeds of each player's last recorded loss."""
    by_player: dict[str, list[float]] = {}
    for lines in run.ticks.values():
        last: dict[str, float] = {}
        for line in lines:
            last |= {
                name: value for (group, name), value in line.values.items() if group == "losses" and value is not None
            }
        for name, value in last.items():
            by_player.setdefault(name, []).append(value)
    return {name: sum(values) / len(values) for name, values in by_player.items()}


def _table(
    title: str, corner: str, columns: Sequence[str], names: Sequence[str], rows: Sequence[Sequence[str]]
) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column(corner, style="bold")
    for column in columns:
        table.add_column(column, justify="right")
    for name, cells in zip(names, rows, strict=True):
        table.add_row(name, *cells)
    return table


def comparison_lines(paths: list[Path]) -> list[str]:
    """Return a comparison's results, its test and its choice of learning rates; empty for runs without one."""
    runs = read_runs(paths)
    comparison = compare_to_baseline(runs, paths)
    if comparison is None:
        return []
    return [
        *comparison_sentences(runs, rankings(runs), comparison),
        describe_tests(comparison),
        *tuning_lines(comparison),
    ]
