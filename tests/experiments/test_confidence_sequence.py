"""Confidence sequences: how often they ever miss, exactly and by simulation, and the decisions made with them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, stats

from detente.experiments.support.confidence_sequence import _log_sign_test, mean_interval, median_interval
from detente.experiments.support.interval_estimate import Estimate, Rule, above, at_least, below, within

ALPHA = 0.05


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.9])
def test_the_interval_of_a_share_ever_misses_with_probability_at_most_alpha(share: float) -> None:
    """The probability of a miss at any of the first 300 observations, by dynamic programming over the sum."""
    alive, missed = np.array([1.0]), 0.0
    for count in range(1, 301):
        alive = np.convolve(alive, [1 - share, share])
        for total in np.flatnonzero(alive > 1e-12):
            low, high = mean_interval(np.repeat([1.0, 0.0], [total, count - total]))
            if not low <= share <= high:
                missed += alive[total]
                alive[total] = 0
    assert 0.001 < missed <= ALPHA


def test_fixed_size_intervals_evaluated_after_every_seed_miss_more_often() -> None:
    """The reason for confidence sequences: Wilson's interval, looked at 100 times, misses far more than α."""
    alive, missed = np.array([1.0]), 0.0
    for count in range(1, 101):
        alive = np.convolve(alive, [0.5, 0.5])
        for total in np.flatnonzero(alive > 1e-12):
            interval = stats.binomtest(int(total), count).proportion_ci(1 - ALPHA, "wilson")
            if not interval.low <= 0.5 <= interval.high:
                missed += alive[total]
                alive[total] = 0
    assert missed > 3 * ALPHA


@pytest.mark.parametrize("name, median", [("cauchy", 0.0), ("lognormal", 1.0), ("integers", 1.0), ("bimodal", 0.0)])
def test_the_interval_of_a_median_ever_misses_with_probability_at_most_alpha(name: str, median: float) -> None:
    """Simulated: 2,000 sequences of 120 observations from distributions with heavy tails, ties, or nothing between."""
    generator = np.random.default_rng(0)
    shape = (2000, 120)
    samples = {
        "cauchy": lambda: generator.standard_cauchy(shape),
        "lognormal": lambda: generator.lognormal(0, 3, shape),
        "integers": lambda: generator.choice([0.0, 1.0, 2.0], p=[0.45, 0.1, 0.45], size=shape),
        "bimodal": lambda: generator.choice([-1.0, 1.0], size=shape),
    }[name]()
    thresholds = [
        next((k for k in range(n + 1) if _log_sign_test(k, n) >= math.log(2 / ALPHA)), n + 1) for n in range(1, 121)
    ]
    above_median, below_median = (np.cumsum(side, 1) for side in (samples > median, samples < median))
    missed = ((above_median >= thresholds) | (below_median >= thresholds)).any(1)
    # For two values any number between them is a median.
    assert missed.mean() <= ALPHA + 2 * math.sqrt(ALPHA * (1 - ALPHA) / len(samples))
    for row in np.flatnonzero(missed)[:3]:  # the counts above say the same as the interval
        time = int(((above_median >= thresholds) | (below_median >= thresholds))[row].argmax()) + 1
        low, high = median_interval(samples[row, :time])
        assert not low <= median <= high


def test_the_sign_test_equals_the_mixture_integral() -> None:
    for above_half, count in ((5, 9), (14, 15), (40, 60)):

        def integrand(q: float, heads: int = above_half, tails: int = count - above_half) -> float:
            return 2 / (math.pi * math.sqrt(q * (1 - q))) * (2 * q) ** heads * (2 - 2 * q) ** tails

        integral = integrate.quad(integrand, 0.5, 1)
        assert _log_sign_test(above_half, count) == pytest.approx(math.log(integral[0]), rel=1e-6)


def test_intervals_of_few_and_of_special_observations() -> None:
    assert median_interval(np.arange(6.0)) == (-math.inf, math.inf)
    assert median_interval(np.arange(7.0)) == (0, 6)
    assert median_interval([*range(6), math.nan]) == (-math.inf, math.inf)  # unknown: counts on both sides
    assert median_interval([-math.inf, *range(20)])[0] > -math.inf
    low, high = mean_interval([1.0] * 10)
    assert high == 1 and 0.6 < low < 0.7
    assert mean_interval([0.0] * 10) == pytest.approx((1 - high, 1 - low), abs=1e-9)
    assert mean_interval([0.5] * 10) == pytest.approx(mean_interval([1.0, 0.0] * 5))
    wide, narrow = (np.diff(mean_interval([1.0, 0.0] * half))[0] for half in (10, 100))
    assert narrow < wide / 2.5


def test_a_rule_decides_by_the_whole_interval() -> None:
    def decisions(rule: Rule) -> list[str]:
        return [rule.decide(Estimate(low + 0.5, low, low + 1)) for low in (-2.0, -0.5, 1.0)]

    assert decisions(above(0)) == ["refuted", "undecided", "holds"]
    assert decisions(below(0)) == ["holds", "undecided", "refuted"]
    assert decisions(within(-1, 2)) == ["undecided", "holds", "holds"]
    assert decisions(within(3, 4)) == ["refuted", "refuted", "refuted"]
    ties = Estimate(0, 0, 0)
    assert above(0).decide(ties) == "refuted" and at_least(0).decide(ties) == "holds"
    assert above(0).decide(Estimate.median([1.0])) == "undecided"
    assert above(0).decide(Estimate.median([1.0] * 7)) == "holds"
    assert above(50).decide(Estimate.share([])) == "undecided"
    assert [str(rule) for rule in (above(0), at_least(9), below(-1), within(1, 2))] == [
        "> 0",
        "≥ 9",
        "< -1",
        "in [1, 2]",
    ]


def test_estimates_of_seeds_are_combined() -> None:
    seeds = [Estimate.difference([3.0], [1.0]), Estimate.difference([2.0], [5.0]), Estimate.difference([4.0], [0.0])]
    together = Estimate.of("median", [number for seed in seeds for number in seed.observations])
    assert together == Estimate.difference([3.0, 2.0, 4.0], [1.0, 5.0, 0.0]) and together.value == 2
    assert Estimate.of("exact", [2.0, 2.0]).low == 2 and Estimate.of("exact", [2.0, 3.0]).kind == "median"
    assert Estimate.of("share", [True, True, False]).value == pytest.approx(200 / 3)
