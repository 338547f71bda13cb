"""Progress bars for training, and tables of results."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from detente.cli.terminal import Console
from detente.registry import summary
from detente.report.comparison import compare_to_baseline
from detente.report.comparison_text import comparison_sentences, describe_pair, describe_tests, tuning_lines
from detente.report.formatting import format_interval
from detente.report.ranking import rankings
from detente.report.recorded_run import RecordedRun
from detente.report.results import metrics_as_rows
from detente.report.run_directory import read_runs
from detente.training.loop import Tick
from detente.training.run import Run

console = Console()


def print_members(table: Mapping[str, object], heading: str | Text) -> None:
    """Print a heading, and each member's name with the first line of its docstring."""
    console.print(heading)
    for name, member in table.items():
        line = Text.assemble("  ", (f"{name:<{max(map(len, table))}}", "bold"), f"  {summary(member)}")
        # One line each: truncated in a terminal, whole in a file or a pipe.
        whole = not console.is_terminal
        console.print(line, no_wrap=True, overflow="ignore" if whole else "ellipsis", crop=not whole)


def with_progress_bar(ticks: Iterator[Tick], run: Run, name: str, target: Console = console) -> Iterator[Tick]:
    """Yield ticks and show their progress: a bar, or without a terminal a line every ten seconds.

    Args:
        ticks: the run's ticks.
        run: the run. The bar ends at its seconds if it has a time limit, otherwise at its steps.
        name: the bar's label.
        target: the console to write to.
    """
    timed = run.seconds is not None
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.completed:.0f}/{task.total:g} s") if timed else MofNCompleteColumn(),
        TextColumn("{task.fields[text]}", markup=False),
        TimeRemainingColumn(),
    )
    start, first_step, last_print = time.monotonic(), None, time.monotonic()
    with Progress(*columns, console=target, refresh_per_second=4, disable=not target.is_terminal) as progress:
        task = progress.add_task(name, total=run.steps if run.seconds is None else run.seconds, text="starting")
        for tick in ticks:
            step, seconds = tick.moment
            if first_step is None:
                first_step, start = step, time.monotonic()
            rate = (step - first_step) / max(time.monotonic() - start, 1e-9)
            text = describe_tick(tick, rate)
            progress.update(task, completed=seconds if timed else step, text=text)
            if not target.is_terminal and (time.monotonic() - last_print > 10 or run.is_over(tick.moment)):
                done = f"{seconds:.3g} of {run.seconds:g} s, step {step}" if timed else f"step {step} of {run.steps}"
                target.print(f"{name}: {done} {text}", soft_wrap=True)
                last_print = time.monotonic()
            yield tick


def describe_tick(tick: Tick, rate: float) -> str:
    """Return mean losses and metrics of a tick's seeds, and the speed, in one line."""
    parts = []
    for name in sorted({name for info in tick.infos.values() for name in info.losses}):
        values = [float(info.losses[name]) for info in tick.infos.values()]
        parts.append(f"{name[:1].upper()} {_mean(values):.3g}")
    for name in ("modes_covered", "distance_to_solution"):
        values = [metrics[name] for metrics in tick.metrics.values() if name in metrics]
        if values:
            parts.append(f"{name.replace('_', ' ')} {_mean(values):.3g}")
    diverged = [str(progress.seed) for progress in tick.progress if progress.diverged_at is not None]
    if diverged:
        parts.append(f"diverged: seed {', '.join(diverged)}")
    if rate > 0:
        parts.append(f"{rate:.0f} steps/s" if rate >= 10 else f"{rate:.2g} steps/s")
    return " · ".join(parts)


def _mean(values: list[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan


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
        for row, standing in enumerate(ranked):
            outcome = standing.outcomes[index]
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
