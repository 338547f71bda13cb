"""Confidence sequences: intervals that are valid at every number of observations, so that one may stop at any time.

With a fixed-size interval, looking after every seed and stopping once it excludes the threshold is wrong far more often
than in 5 % of cases. A confidence sequence misses the true value at *any* time with probability at most α.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy.optimize import brentq
from scipy.special import betainc, betaln

PRIOR = 0.5  # both parameters of the mixing Beta distribution (Jeffreys)


def mean_interval(values: Sequence[float] | np.ndarray, alpha: float = 0.05) -> tuple[float, float]:
    """Return the confidence sequence of the mean m of numbers in [0, 1], at the present number of observations.

    M(m) = B(S + ½, n − S + ½) / (B(½, ½) mˢ (1 − m)ⁿ⁻ˢ) with the sum S of n numbers; the interval is {m: M(m) < 1/α}.
    M(m) is a supermartingale at the true mean (a martingale if the numbers are 0 or 1), so by Ville's inequality it
    ever reaches 1/α with probability at most α.

    Args:
        values: independent observations in [0, 1], n ≥ 1; a share is the mean of zeros and ones.
        alpha: probability, in (0, 1), that the interval ever misses the mean.

    Source: Howard, Ramdas, McAuliffe & Sekhon 2021, Time-uniform, nonparametric, nonasymptotic confidence sequences
        (arXiv:1810.08240), the beta-binomial mixture; Robbins 1970.
    """
    sample = np.asarray(values, dtype=float)
    count, total = len(sample), float(sample.sum())
    mixture = betaln(total + PRIOR, count - total + PRIOR) - betaln(PRIOR, PRIOR)

    def excess(mean: float) -> float:
        return mixture - _times_log(total, mean) - _times_log(count - total, 1 - mean) + math.log(alpha)

    middle = total / count
    if excess(middle) >= 0:  # only by rounding
        return middle, middle
    return _root(excess, 0.0, middle), _root(excess, 1.0, middle)


def median_interval(values: Sequence[float] | np.ndarray, alpha: float = 0.05) -> tuple[float, float]:
    """Return the confidence sequence of the median, at the present number of observations.

    It inverts a sequential sign test: the lower end is the k-th largest value, for the least k such that k values
    above the median, of n, are too many for a fair coin: M(k) = 2ⁿ ∫ qᵏ (1 − q)ⁿ⁻ᵏ dF(q) ≥ 2/α, with a Beta(½, ½)
    distribution F restricted to q > ½. The upper end is its mirror image. Nothing is assumed about the distribution;
    tails may be heavy, values may be tied or infinite. At least seven observations give finite ends at α = 5 %.

    Args:
        values: independent observations; NaN counts as unknown, so it lowers the lower end and raises the upper one.
        alpha: probability, in (0, 1), that the interval ever misses the median.

    Source: Howard & Ramdas 2022, Sequential estimation of quantiles with applications to A/B testing and best-arm
        identification (arXiv:1906.09712), with the mixture of `mean_interval`.
    """
    sample = np.asarray(values, dtype=float)
    count = len(sample)
    needed = next((k for k in range(count + 1) if _log_sign_test(k, count) >= math.log(2 / alpha)), None)
    if needed is None:
        return -math.inf, math.inf
    low = np.sort(np.where(np.isnan(sample), -math.inf, sample))[count - needed]
    high = np.sort(np.where(np.isnan(sample), math.inf, sample))[needed - 1]
    return float(low), float(high)


def _log_sign_test(above: int, count: int) -> float:
    """Return the logarithm of the one-sided mixture martingale of a fair coin after `above` heads in `count` tosses."""
    first, second = above + PRIOR, count - above + PRIOR
    upper_half = float(betainc(second, first, 0.5))  # Beta(first, second) beyond ½
    if upper_half <= 0:
        return -math.inf
    return count * math.log(2) + betaln(first, second) - betaln(PRIOR, PRIOR) + math.log(2 * upper_half)


def _times_log(weight: float, number: float) -> float:
    """Return weight · log(number), with 0 · log 0 = 0."""
    if weight == 0:
        return 0.0
    return weight * math.log(number) if number > 0 else -math.inf


def _root(excess: Callable[[float], float], end: float, middle: float) -> float:
    """Return where the excess changes its sign between the middle and an end of [0, 1], or the end if it does not."""
    if excess(end) < 0:
        return end
    near = abs(end - 1e-300) if end == 0 else end - 1e-16
    if not math.isfinite(excess(near)) or excess(near) < 0:
        return end
    return float(brentq(excess, near, middle, xtol=1e-12))  # pyright: ignore[reportArgumentType]
