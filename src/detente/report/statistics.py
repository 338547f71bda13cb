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
EXACT_WITH_TIES = 13  # largest sample with equal magnitudes for which all 2ⁿ signs are tried, as SciPy does
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


@cache
def t_quantile(degrees: int) -> float:
    """Return the t with P(|T| <= t) = 0.95 for Student's t distribution.

    Raises:
        InvalidValue: `degrees` is less than 1.
    """
    from scipy import stats  # imported here because it takes half a second

    require(degrees >= 1, "degrees", degrees, "an integer >= 1")
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, degrees))


def interval(values: Iterable[float]) -> Interval | None:
    """Mean and t_{n-1} s / sqrt(n) of finite values; None for no value, no half-width for a single one."""
    numbers = np.asarray(list(values), dtype=np.float64)
    if numbers.size == 0:
        return None
    # Equal values have no spread; summing them in floating point would invent one.
    if numbers.size == 1 or np.all(numbers == numbers[0]):
        return Interval(float(numbers[0]), None if numbers.size == 1 else 0.0, numbers.size)
    spread = float(numbers.std(ddof=1)) / math.sqrt(numbers.size)
    return Interval(float(numbers.mean()), t_quantile(numbers.size - 1) * spread, numbers.size)


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


def signed_rank_test(differences: Sequence[float]) -> tuple[float, int]:
    """Return the two-sided p-value of the Wilcoxon signed-rank test, and the number of differences that are not zero.

    Zeros are left out; equal magnitudes share their mean rank. The p-value is exact, except for more than 13
    differences with equal magnitudes, where it is the normal approximation.

    Source: Wilcoxon 1945, Individual Comparisons by Ranking Methods.
    """
    nonzero = np.asarray([d for d in differences if d != 0], dtype=np.float64)
    if not nonzero.size:
        return 1.0, 0
    from scipy import stats  # imported here because it takes half a second

    magnitudes = np.abs(nonzero)
    if np.unique(magnitudes).size == nonzero.size:
        result = stats.wilcoxon(nonzero, method="exact")
    elif nonzero.size > EXACT_WITH_TIES:
        result = stats.wilcoxon(nonzero, method="asymptotic")
    else:
        # `stats.wilcoxon` finds the same p-value, but takes 100 times as long.
        signed_ranks = np.sign(nonzero) * stats.rankdata(magnitudes)
        result = stats.permutation_test((signed_ranks,), np.sum, permutation_type="samples")
    return float(result.pvalue), int(nonzero.size)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for multiple tests.

    Source: Holm 1979, A Simple Sequentially Rejective Multiple Test Procedure.
    """
    corrected, largest = [1.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def thinned(items: Sequence[T], count: int) -> list[T]:
    """At most `count` items, evenly spread, the first and the last among them."""
    if len(items) <= count:
        return list(items)
    return [items[i] for i in np.linspace(0, len(items) - 1, count).round().astype(int)]


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
