"""A number with its 95 % confidence interval, which decides a claim."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % confidence interval.

    Args:
        value: the number.
        low: lower end of the interval; equal to `value` if it is exact or comes from one observation.
        high: upper end of the interval.
        count: number of observations.
        unit: unit of all three numbers.
    """

    value: float
    low: float
    high: float
    count: int = 1
    unit: str = ""

    @classmethod
    def exact(cls, value: float, unit: str = "") -> Estimate:
        """Return a number without uncertainty."""
        return cls(float(value), float(value), float(value), 1, unit)

    @classmethod
    def mean(cls, values: Sequence[float] | np.ndarray, unit: str = "") -> Estimate:
        """Return the mean with Student's t interval; NaN if any value is NaN."""
        sample = np.asarray(values, dtype=float)
        mean, count = float(sample.mean()), len(sample)
        if count < 2 or not math.isfinite(mean):
            return cls(mean, mean, mean, count, unit)
        half_width = float(stats.t.ppf(0.975, count - 1) * sample.std(ddof=1) / math.sqrt(count))
        return cls(mean, mean - half_width, mean + half_width, count, unit)

    @classmethod
    def difference(cls, values: Sequence[float] | np.ndarray, others: Sequence[float] | np.ndarray) -> Estimate:
        """Return the mean of paired differences with Student's t interval."""
        return cls.mean(np.asarray(values, dtype=float) - np.asarray(others, dtype=float))

    @classmethod
    def share(cls, successes: int, count: int) -> Estimate:
        """Return a share in per cent with Wilson's interval."""
        interval = stats.binomtest(int(successes), int(count)).proportion_ci(0.95, "wilson")
        return cls(100 * successes / count, 100 * interval.low, 100 * interval.high, count, "%")

    def __str__(self) -> str:
        unit = f" {self.unit}".replace(" %", " %") if self.unit else ""
        if self.low == self.high or math.isnan(self.low):
            return f"{self.value:.3g}{unit}"
        return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}]{unit}"
