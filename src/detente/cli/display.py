"""Progress bars for training, and lists of members."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from detente.cli.terminal import Console
from detente.registry import summary

if TYPE_CHECKING:
    from detente.training.loop import Tick
    from detente.training.run import Run

console = Console()


def print_members(table: Mapping[str, object], heading: str | Text) -> None:
    """Print a heading, and each member's name with the first line of its docstring."""
    console.print(heading)
    for name, member in table.items():
        line = Text.assemble("  ", (f"{name:<{max(map(len, table))}}", "bold"), f"  {summary(member)}")
        # One line each: truncated in a terminal, whole in a file or a pipe.
        show_all = not console.is_terminal
        console.print(line, no_wrap=True, overflow="ignore" if show_all else "ellipsis", crop=not show_all)


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
            compiling = step == 0 and tick.execution.startswith("compiled") and not run.is_over(tick.moment)
            if first_step is None:
                first_step, start = step, time.monotonic()
            rate = (step - first_step) / max(time.monotonic() - start, 1e-9)
            text = "compiling the step" if compiling else describe_tick(tick, rate)
            progress.update(task, completed=seconds if timed else step, text=text)
            prints = compiling or time.monotonic() - last_print > 10 or run.is_over(tick.moment)
            if not target.is_terminal and prints:
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
