"""Means and Student-t 95 % intervals over seeds; a seed that diverged is counted apart, never dropped silently."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeVar, final

import numpy as np

from detente.errors import require
from detente.report.run import Quantity, Run

CONFIDENCE = 0.95
POINTS = 400
T = TypeVar("T")


@final
@dataclass(frozen=True)
class Interval:
    """A mean over `n` seeds with the half-width of its 95 % interval (None for a single seed)."""

    mean: float
    half_width: float | None
    n: int

    @property
    def low(self) -> float:
        """Lower end; the mean itself for a single seed."""
        return self.mean - (self.half_width or 0.0)

    @property
    def high(self) -> float:
        """Upper end; the mean itself for a single seed."""
        return self.mean + (self.half_width or 0.0)

    def overlaps(self, other: Interval) -> bool:
        """Whether the two closed intervals share a point."""
        return self.low <= other.high and other.low <= self.high


@final
@dataclass(frozen=True)
class Outcome:
    """Final value of one quantity in one run: `interval` is over the seeds that did not diverge.

    Args:
        interval: mean and interval over the counted seeds, None when there is none.
        diverged: seeds left out because they diverged.
        missing: seeds left out because the quantity was never measured or was not finite.
    """

    interval: Interval | None
    diverged: tuple[int, ...]
    missing: tuple[int, ...]

    @property
    def complete(self) -> bool:
        """Whether every seed of the run is counted."""
        return not self.diverged and not self.missing


@final
@dataclass(frozen=True)
class Curve:
    """One quantity of one run against training: equally long lists, one entry a step."""

    steps: list[int]
    gradient_evaluations: list[float | None]
    seconds: list[float | None]
    mean: list[float]
    low: list[float]
    high: list[float]
    n: list[int]


def central_probability(t: float, degrees: int) -> float:
    """P(|T| <= t) for Student's T with an integer number of degrees of freedom.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, equations 26.7.3 and 26.7.4.
    """
    angle = math.atan(t / math.sqrt(degrees))
    odd = degrees % 2
    term, total = (math.cos(angle) if odd else 1.0), 0.0
    for k in range(degrees // 2):
        total += term
        term *= math.cos(angle) ** 2 * ((2 * k + 2) / (2 * k + 3) if odd else (2 * k + 1) / (2 * k + 2))
    return 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total


@cache
def student_t(degrees: int) -> float:
    """Two-sided 95 % quantile of Student's t: the t with P(|T| <= t) = 0.95.

    Raises:
        InvalidValue: when `degrees` is not at least 1.
    """
    require(degrees >= 1, "degrees", degrees, "an integer >= 1")
    low, high = 0.0, 64.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if central_probability(middle, degrees) < CONFIDENCE else (low, middle)
    return (low + high) / 2


def interval(values: Iterable[float]) -> Interval | None:
    """Mean and t_{n-1} s / sqrt(n) of finite values; None for no value, no half-width for a single one."""
    numbers = np.asarray(list(values), dtype=np.float64)
    if numbers.size == 0:
        return None
    # Equal values have no spread; summing them in floating point would invent one.
    if numbers.size == 1 or np.all(numbers == numbers[0]):
        return Interval(float(numbers[0]), None if numbers.size == 1 else 0.0, numbers.size)
    spread = float(numbers.std(ddof=1)) / math.sqrt(numbers.size)
    return Interval(float(numbers.mean()), student_t(numbers.size - 1) * spread, numbers.size)


def final_values(run: Run, quantity: Quantity) -> dict[int, float | None]:
    """The last measured value of each seed that did not diverge; None where it is not finite or was never measured."""
    return {
        seed: next((t.values[quantity] for t in reversed(run.ticks.get(seed, ())) if quantity in t.values), None)
        for seed in run.seeds
        if seed not in run.diverged
    }


def final_outcome(run: Run, quantity: Quantity) -> Outcome:
    """The last measured value of each seed that did not diverge, as one interval."""
    values = final_values(run, quantity)
    known = [value for value in values.values() if value is not None]
    return Outcome(interval(known), run.diverged, tuple(seed for seed, value in values.items() if value is None))


def final_cost(run: Run, name: str) -> Interval | None:
    """Seconds, steps, steps per second, gradient evaluations or memory at the end, over the seeds that did not diverge.

    Seeds of one process share its memory, so of that it is the largest, without an interval.
    """
    counted = [seed for seed in run.seeds if seed not in run.diverged] or list(run.seeds)
    values: list[float] = []
    for seed in counted:
        status, ticks = run.seeds[seed], run.ticks.get(seed, ())
        value = {
            "seconds": status.seconds,
            "steps": float(status.step),
            "steps_per_second": status.step / status.seconds if status.seconds else None,
            "gradient_evaluations": ticks[-1].gradient_evaluations if ticks else None,
            "memory": ticks[-1].memory if ticks else None,
        }[name]
        if value is not None:
            values.append(value)
    return interval([max(values)] if name == "memory" and values else values)


def curve(run: Run, quantity: Quantity) -> Curve | None:
    """Mean and band over the seeds with a finite value at each step, thinned to at most 400 steps."""
    rows: dict[int, list[tuple[float, float | None, float | None]]] = {}
    for ticks in run.ticks.values():
        for tick in ticks:
            value = tick.values.get(quantity)
            if value is not None:
                rows.setdefault(tick.step, []).append((value, tick.gradient_evaluations, tick.seconds))
    if not rows:
        return None
    steps = thinned(sorted(rows), POINTS)
    bands = [interval(row[0] for row in rows[step]) for step in steps]
    kept = [band for band in bands if band is not None]
    evaluations, seconds = ([_mean(row[k] for row in rows[step]) for step in steps] for k in (1, 2))
    means, lows, highs = [b.mean for b in kept], [b.low for b in kept], [b.high for b in kept]
    return Curve(steps, evaluations, seconds, means, lows, highs, [b.n for b in kept])


def thinned(items: Sequence[T], count: int) -> list[T]:
    """At most `count` items, evenly spread, the first and the last among them."""
    if len(items) <= count:
        return list(items)
    return [items[i] for i in np.linspace(0, len(items) - 1, count).round().astype(int)]


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
