"""A number with its 95 % interval, and the rules by which it decides a claim."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from scipy import stats

from detente.experiments.support.confidence_sequence import mean_interval, median_interval

Kind = Literal["exact", "mean", "median", "share"]
Decision = Literal["holds", "refuted", "undecided"]
Values = Sequence[float] | np.ndarray


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval.

    The interval of medians and shares is a confidence sequence: it is valid however many seeds there are and whenever
    one stops adding them. The interval of `mean` and of `fixed_share` requires a number of observations fixed in
    advance; they are for experiments whose size is part of the claim.

    Args:
        value: the number.
        low: lower end of the interval; equal to `value` if it is exact.
        high: upper end of the interval.
        count: number of observations.
        unit: unit of all three numbers.
        kind: what the number is of the observations.
        observations: the observations, one or more per seed.
    """

    value: float
    low: float
    high: float
    count: int = 1
    unit: str = ""
    kind: Kind = "exact"
    observations: tuple[float, ...] = field(default=(), compare=False, repr=False)

    @classmethod
    def exact(cls, value: float, unit: str = "") -> Estimate:
        """Return a number without uncertainty, the same for every seed."""
        return cls(float(value), float(value), float(value), 1, unit, "exact", (float(value),))

    @classmethod
    def mean(cls, values: Values, unit: str = "") -> Estimate:
        """Return the mean with Student's t interval; NaN if any value is NaN, no interval for one value."""
        sample = np.asarray(values, dtype=float)
        mean, count = float(sample.mean()), len(sample)
        if count < 2 or not math.isfinite(mean):
            return cls(mean, -math.inf, math.inf, count, unit, "mean", _tuple(sample))
        half_width = float(stats.t.ppf(0.975, count - 1) * sample.std(ddof=1) / math.sqrt(count))
        return cls(mean, mean - half_width, mean + half_width, count, unit, "mean", _tuple(sample))

    @classmethod
    def fixed_share(cls, successes: int, count: int) -> Estimate:
        """Return a share in per cent with Wilson's interval."""
        interval = stats.binomtest(int(successes), int(count)).proportion_ci(0.95, "wilson")
        low, high = 100 * float(interval.low), 100 * float(interval.high)
        return cls(100 * successes / count, low, high, count, "%", "share")

    @classmethod
    def median(cls, values: Values, unit: str = "") -> Estimate:
        """Return the median with its confidence sequence, an inverted sign test."""
        sample = np.asarray(values, dtype=float).reshape(-1)
        low, high = median_interval(sample)
        return cls(_median(sample), low, high, len(sample), unit, "median", _tuple(sample))

    @classmethod
    def difference(cls, values: Values, others: Values, unit: str = "") -> Estimate:
        """Return the median of paired differences, seed by seed, with its confidence sequence."""
        with np.errstate(invalid="ignore"):
            return cls.median(np.asarray(values, dtype=float) - np.asarray(others, dtype=float), unit)

    @classmethod
    def share(cls, values: Values, unit: str = "%") -> Estimate:
        """Return the mean in per cent of numbers in [0, 1], e.g. of yes and no, with its confidence sequence."""
        sample = np.asarray(values, dtype=float).reshape(-1)
        if not len(sample) or not np.isfinite(sample).all():
            return cls(math.nan, 0.0, 100.0, len(sample), unit, "share", _tuple(sample))
        low, high = mean_interval(sample)
        return cls(100 * float(sample.mean()), 100 * low, 100 * high, len(sample), unit, "share", _tuple(sample))

    @classmethod
    def of(cls, kind: Kind, observations: Values, unit: str = "") -> Estimate:
        """Return the estimate of a kind from the observations of several seeds.

        An exact number that differs between seeds becomes a median.
        """
        if kind == "share":
            return cls.share(observations, unit)
        if kind == "mean":
            return cls.mean(observations, unit)
        sample = np.asarray(observations, dtype=float)
        if kind == "exact" and (np.array_equal(sample, np.full_like(sample, sample[0]), equal_nan=True)):
            return replace(cls.exact(sample[0], unit), count=len(sample), observations=_tuple(sample))
        return cls.median(sample, unit)

    def __str__(self) -> str:
        unit = f" {self.unit}".replace(" %", " %") if self.unit else ""
        if self.low == self.high or math.isnan(self.low):
            return f"{self.value:.3g}{unit}"
        return f"{self.value:.3g} [{_number(self.low)}, {_number(self.high)}]{unit}"


@dataclass(frozen=True)
class Rule:
    """A claim's direction and threshold, which decide it by the interval of its number.

    The claim says that the number lies in [`low`, `high`], or strictly inside with `strict`. It holds if the whole
    interval lies there, is refuted if the whole interval lies outside, and is undecided otherwise.

    Args:
        low: least number that the claim allows.
        high: largest number that the claim allows.
        strict: the ends themselves are not allowed.
    """

    low: float = -math.inf
    high: float = math.inf
    strict: bool = True

    def decide(self, estimate: Estimate) -> Decision:
        """Return whether the claim holds, is refuted, or is undecided."""
        if math.isnan(estimate.value) or math.isnan(estimate.low) or math.isnan(estimate.high):
            return "undecided"
        if self._allows(estimate.low) and self._allows(estimate.high):
            return "holds"
        above = estimate.low > self.high or (self.strict and estimate.low == self.high)
        below = estimate.high < self.low or (self.strict and estimate.high == self.low)
        return "refuted" if above or below else "undecided"

    def _allows(self, number: float) -> bool:
        if self.strict:
            return (self.low < number or self.low == -math.inf) and (number < self.high or self.high == math.inf)
        return self.low <= number <= self.high

    def __str__(self) -> str:
        sign = "" if self.strict else "="
        if self.high == math.inf:
            return f">{sign} {self.low:g}".replace(">=", "≥")
        if self.low == -math.inf:
            return f"<{sign} {self.high:g}".replace("<=", "≤")
        return f"in [{self.low:g}, {self.high:g}]"


def above(threshold: float) -> Rule:
    """Return the rule "the number exceeds a threshold"."""
    return Rule(low=threshold)


def at_least(threshold: float) -> Rule:
    """Return the rule "the number is a threshold or more"."""
    return Rule(low=threshold, strict=False)


def below(threshold: float) -> Rule:
    """Return the rule "the number is less than a threshold"."""
    return Rule(high=threshold)


def within(low: float, high: float) -> Rule:
    """Return the rule "the number lies in [low, high]"."""
    return Rule(low, high, strict=False)


def _tuple(sample: np.ndarray) -> tuple[float, ...]:
    return tuple(float(number) for number in sample)


def _median(sample: np.ndarray) -> float:
    known = sample[~np.isnan(sample)]
    if not len(known):
        return math.nan
    middle = np.sort(known)[[(len(known) - 1) // 2, len(known) // 2]]
    return float(middle[0] if middle[0] == middle[1] else middle.mean())


def _number(number: float) -> str:
    return f"{number:.3g}".replace("inf", "∞").replace("-∞", "−∞")
