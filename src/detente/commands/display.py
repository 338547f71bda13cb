"""Progress bars while training: losses, metrics, steps a second and time left."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from detente.training.loop import Tick

console = Console(highlight=False)


def shown(ticks: Iterator[Tick], steps: int, name: str, target: Console = console) -> Iterator[Tick]:
    """Yield ticks while a bar follows them; without a terminal, a line every ten seconds instead."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[told]}"),
        TimeRemainingColumn(),
    )
    begun, first, spoken = time.monotonic(), None, time.monotonic()
    with Progress(*columns, console=target, refresh_per_second=4, disable=not target.is_terminal) as progress:
        task = progress.add_task(name, total=steps, told="starting")
        for tick in ticks:
            if first is None:
                first, begun = tick.step, time.monotonic()
            rate = (tick.step - first) / max(time.monotonic() - begun, 1e-9)
            told = sentence(tick, rate)
            progress.update(task, completed=tick.step, told=told)
            if not target.is_terminal and (time.monotonic() - spoken > 10 or tick.step == steps):
                target.print(f"{name}: step {tick.step} of {steps} {told}", soft_wrap=True)
                spoken = time.monotonic()
            yield tick


def sentence(tick: Tick, rate: float) -> str:
    """Return in a few words how the seeds of a tick are doing."""
    parts = []
    for group in ("losses",):
        names = {name for info in tick.infos.values() for name in getattr(info, group)}
        for name in sorted(names):
            values = [float(getattr(info, group)[name]) for info in tick.infos.values()]
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
