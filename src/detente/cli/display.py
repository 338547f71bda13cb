"""Progress bars while training: losses, metrics, steps a second and time left."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from detente.cli.terminal import Console
from detente.report.comparison import against
from detente.report.escape import shown_interval
from detente.report.paired_words import method_of_test, sentences, shown_pair, swept
from detente.report.run import Run as RecordedRun
from detente.report.run_directory import read_runs
from detente.report.standing import standings
from detente.report.tables import many
from detente.training.loop import Tick
from detente.training.run import Run

console = Console()


def shown(ticks: Iterator[Tick], run: Run, name: str, target: Console = console) -> Iterator[Tick]:
    """Yield ticks while a bar follows them; without a terminal, a line every ten seconds instead.

    Args:
        ticks: of the run.
        run: whose end the bar goes to: its seconds where it has any, else its steps.
        name: what the bar is called.
        target: where to show it.
    """
    timed = run.seconds is not None
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.completed:.0f}/{task.total:g} s") if timed else MofNCompleteColumn(),
        TextColumn("{task.fields[told]}", markup=False),
        TimeRemainingColumn(),
    )
    begun, first, spoken = time.monotonic(), None, time.monotonic()
    with Progress(*columns, console=target, refresh_per_second=4, disable=not target.is_terminal) as progress:
        task = progress.add_task(name, total=run.steps if run.seconds is None else run.seconds, told="starting")
        for tick in ticks:
            step, seconds = tick.moment
            if first is None:
                first, begun = step, time.monotonic()
            rate = (step - first) / max(time.monotonic() - begun, 1e-9)
            told = sentence(tick, rate)
            progress.update(task, completed=seconds if timed else step, told=told)
            if not target.is_terminal and (time.monotonic() - spoken > 10 or run.is_over(tick.moment)):
                ends = f"{seconds:.3g} of {run.seconds:g} s, step {step}" if timed else f"step {step} of {run.steps}"
                target.print(f"{name}: {ends} {told}", soft_wrap=True)
                spoken = time.monotonic()
            yield tick


def sentence(tick: Tick, rate: float) -> str:
    """Return in a few words how the seeds of a tick are doing."""
    parts = []
    for name in sorted({name for info in tick.infos.values() for name in info.losses}):
        values = [float(info.losses[name]) for info in tick.infos.values()]
        parts.append(f"{name[:1].upper()} {_mean(values):.3g}")
    for name in ("modes_covered", "distance_to_solution"):
        values = [metrics[name] for metrics in tick.metrics.values() if name in metrics]
        if values:
            parts.append(f"{name.replace('_', ' ')} {_mean(values):.3g}")
    diverged = [str(one.seed) for one in tick.progress if one.diverged_at is not None]
    if diverged:
        parts.append(f"diverged: seed {', '.join(diverged)}")
    if rate > 0:
        parts.append(f"{rate:.0f} steps/s" if rate >= 10 else f"{rate:.2g} steps/s")
    return " · ".join(parts)


def _mean(values: list[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan


def outcome_table(paths: list[Path]) -> Table:
    """Return the final metrics of runs with their 95 % intervals over seeds, as the report's page has them.

    In a comparison's folder each run also has its difference from the baseline.
    """
    runs = read_runs(paths)
    ranked, told = standings(runs), against(runs, paths)
    if not ranked:
        return _losses(runs)
    arrows = {"higher": " ↑", "lower": " ↓"}
    metrics = [one.title + arrows.get(one.better, "") + (f"\n{one.unit}" if one.unit else "") for one in ranked]
    names = [f"{run.name}\n(baseline)" if told and told.baseline == i else run.name for i, run in enumerate(runs)]
    rows = []
    for index in range(len(runs)):
        cells = []
        for row, standing in enumerate(ranked):
            outcome = standing.outcomes[index]
            lost = f"{len(outcome.diverged)} diverged" if outcome.diverged else ""
            pair = told.pairs[row].get(index) if told else None
            lines = [shown_interval(outcome.interval) if outcome.interval else "–", lost]
            cells.append("\n".join(filter(None, [*lines, *(shown_pair(pair) if pair else ())])))
        rows.append(cells)
    title = "At the end (mean ± 95 % interval over seeds; ↑ higher is better)"
    if many(ranked, runs):
        beside = [metric.replace("\n", ", ") for metric in metrics]
        return _table(title, "metric", names, beside, list(zip(*rows, strict=True)))
    return _table(title, "run", metrics, names, rows)


def _losses(runs: Sequence[RecordedRun]) -> Table:
    """Return each run's last losses, for games to which no metric applies."""
    players = list(dict.fromkeys(name for run in runs for name in _last_losses(run)))
    rows = [
        [f"{_last_losses(run)[name]:.4g}" if name in _last_losses(run) else "–" for name in players] for run in runs
    ]
    title = "Nothing was measured, since no metric applies to this game. Losses at the end (mean over seeds)"
    return _table(title, "run", players, [run.name for run in runs], rows)


def _last_losses(run: RecordedRun) -> dict[str, float]:
    """Return the mean over seeds of each player's loss in the last line that has one."""
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
    """Return what a comparison claims, how it was tested, and how its learning rates were chosen; else nothing."""
    runs = read_runs(paths)
    told = against(runs, paths)
    if told is None:
        return []
    return [*sentences(runs, standings(runs), told), method_of_test(told), *swept(told)]
