"""Means and Student-t 95 % intervals over seeds, and tests. Diverged seeds are listed, never dropped silently."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar, final

import numpy as np

from detente.errors import require
from detente.report.recorded_run import Quantity, RecordedRun

CONFIDENCE = 0.95
MAX_POINTS = 400
EXACT_WITH_TIES = 13  # largest sample with equal magnitudes for which all 2ⁿ signs are tried, as SciPy does
T = TypeVar("T")


@final
@dataclass(frozen=True)
class Interval:
    """The mean over `n` seeds with the half-width of its 95 % interval (None for a single seed)."""

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
class FinalValues:
    """The final value of one quantity in one run, over the seeds that did not diverge.

    Args:
        interval: mean and interval over the counted seeds; None if there are none.
        diverged: seeds that are not counted because they diverged.
        missing: seeds that are not counted because the quantity was never measured or was not finite.
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
    """One quantity of one run over training: lists of equal length, with one entry for each step."""

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


def confidence_interval(values: Iterable[float]) -> Interval | None:
    """Return mean and half-width t_{n-1} s / sqrt(n) of finite values; None without values, no half-width for one."""
    numbers = np.asarray(list(values), dtype=np.float64)
    if numbers.size == 0:
        return None
    # The spread of equal values is 0, but rounding errors of the sum would make it positive.
    if numbers.size == 1 or np.all(numbers == numbers[0]):
        return Interval(float(numbers[0]), None if numbers.size == 1 else 0.0, numbers.size)
    spread = float(numbers.std(ddof=1)) / math.sqrt(numbers.size)
    return Interval(float(numbers.mean()), t_quantile(numbers.size - 1) * spread, numbers.size)


def final_values(run: RecordedRun, quantity: Quantity) -> dict[int, float | None]:
    """Return the last measured value of each seed that did not diverge; None if it is not finite or not measured."""
    return {
        seed: next((t.values[quantity] for t in reversed(run.ticks.get(seed, ())) if quantity in t.values), None)
        for seed in run.seeds
        if seed not in run.diverged
    }


def final_outcome(run: RecordedRun, quantity: Quantity) -> FinalValues:
    """Return the interval of the last measured values of the seeds that did not diverge."""
    values = final_values(run, quantity)
    finite = [value for value in values.values() if value is not None]
    missing = tuple(seed for seed, value in values.items() if value is None)
    return FinalValues(confidence_interval(finite), run.diverged, missing)


def final_cost(run: RecordedRun, name: str) -> Interval | None:
    """Return the cost `name` at the end of training, over the seeds that did not diverge (over all, if all diverged).

    Seeds of one process share its memory, so memory is the maximum over the seeds, without an interval.

    Args:
        run: the run.
        name: ``seconds``, ``steps``, ``steps_per_second``, ``gradient_evaluations`` or ``memory``.
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
    return confidence_interval([max(values)] if name == "memory" and values else values)


def curve(run: RecordedRun, quantity: Quantity) -> Curve | None:
    """Return mean and band over the seeds with a finite value at each step, at no more than 400 steps."""
    rows: dict[int, list[tuple[float, float | None, float | None]]] = {}
    for ticks in run.ticks.values():
        for tick in ticks:
            value = tick.values.get(quantity)
            if value is not None:
                rows.setdefault(tick.step, []).append((value, tick.gradient_evaluations, tick.seconds))
    if not rows:
        return None
    steps = thin(sorted(rows), MAX_POINTS)
    evaluations, seconds = ([_mean(row[k] for row in rows[step]) for step in steps] for k in (1, 2))
    intervals = [confidence_interval(row[0] for row in rows[step]) for step in steps]
    bands = [band for band in intervals if band is not None]
    means, lows, highs = [b.mean for b in bands], [b.low for b in bands], [b.high for b in bands]
    return Curve(steps, evaluations, seconds, means, lows, highs, [b.n for b in bands])


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
        result: Any = stats.wilcoxon(nonzero, method="exact")
    elif nonzero.size > EXACT_WITH_TIES:
        result = stats.wilcoxon(nonzero, method="asymptotic")
    else:
        # `stats.wilcoxon` finds the same p-value, but takes 100 times as long.
        signed_ranks = np.sign(nonzero) * stats.rankdata(magnitudes)
        result: Any = stats.permutation_test((signed_ranks,), np.sum, permutation_type="samples")
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


def thin(items: Sequence[T], count: int) -> list[T]:
    """Return at most `count` evenly spaced items, including the first and the last."""
    if len(items) <= count:
        return list(items)
    return [items[i] for i in np.linspace(0, len(items) - 1, count).round().astype(int)]


def _mean(values: Iterable[float | None]) -> float | None:
    finite = [value for value in values if value is not None]
    return sum(finite) / len(finite) if finite else None
