"""Statistics over seeds, against SciPy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from detente.report.formatting import format_interval
from detente.report.recorded_run import RecordedRun, RecordedTick, SeedStatus
from detente.report.statistics import (
    Interval,
    confidence_interval,
    curve,
    final_cost,
    final_outcome,
    t_quantile,
    thin,
)

MODES = ("metrics", "modes")


def run_of(values: dict[int, list[float | None]], diverged: dict[int, int] | None = None) -> RecordedRun:
    diverged = diverged or {}
    ticks = {
        s: [RecordedTick(k + 1, 2 * k, 0.5 * k + s, {MODES: v}) for k, v in enumerate(line)]
        for s, line in values.items()
    }
    seeds = {s: SeedStatus("diverged" if s in diverged else "finished", 10, 2.0 + s, diverged.get(s)) for s in values}
    return RecordedRun("run", Path("run"), seeds=seeds, ticks=ticks)


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 9, 10, 29, 30, 120])
def test_t_quantile(degrees: int) -> None:
    assert stats.t.cdf(t_quantile(degrees), degrees) == pytest.approx(0.975)


@pytest.mark.parametrize("n", [2, 3, 5, 12])
def test_interval_agrees_with_scipy(n: int) -> None:
    values = np.random.default_rng(n).normal(5, 2, n)
    low, high = stats.t.interval(0.95, n - 1, loc=values.mean(), scale=stats.sem(values))
    result = confidence_interval(values)
    assert result is not None and (result.low, result.high, result.n) == (pytest.approx(low), pytest.approx(high), n)


def test_single_and_equal_seeds() -> None:
    assert confidence_interval([]) is None
    assert confidence_interval([3.0]) == Interval(3.0, None, 1)
    assert confidence_interval([0.1, 0.1, 0.1]) == Interval(0.1, 0.0, 3)


def test_intervals_that_touch_overlap() -> None:
    assert Interval(1.0, 0.5, 3).overlaps(Interval(2.0, 0.5, 3))
    assert not Interval(1.0, 0.5, 3).overlaps(Interval(2.0, 0.4, 3))


def test_diverged_and_missing_seeds_are_listed() -> None:
    run = run_of({0: [1.0, 8.0], 1: [1.0, 6.0], 2: [5.0], 3: [4.0, None]}, diverged={2: 1})
    outcome = final_outcome(run, MODES)
    assert outcome.interval is not None and (outcome.interval.mean, outcome.interval.n) == (7.0, 2)
    assert outcome.diverged == (2,) and outcome.missing == (3,) and not outcome.complete


def test_run_with_only_diverged_seeds_has_a_cost_but_no_value() -> None:
    run = run_of({0: [1.0]}, diverged={0: 1})
    assert final_outcome(run, MODES).interval is None
    seconds, speed = final_cost(run, "seconds"), final_cost(run, "steps_per_second")
    assert seconds and speed and (seconds.mean, speed.mean) == (2.0, 5.0)


def test_curve_counts_a_seed_until_it_diverges() -> None:
    line = curve(run_of({0: [1.0, 2.0, 3.0], 1: [3.0, None]}, diverged={1: 2}), MODES)
    assert line is not None and line.mean == [2.0, 2.0, 3.0] and line.n == [2, 1, 1]
    assert line.gradient_evaluations == [0, 2, 4] and line.seconds == [0.5, 0.5, 1.0]
    assert line.high[0] - line.mean[0] == pytest.approx(stats.t.ppf(0.975, 1))
    assert curve(run_of({0: [None]}), MODES) is None


def test_thinning_keeps_both_ends() -> None:
    assert thin(range(10), 20) == list(range(10))
    few = thin(range(1000), 7)
    assert len(few) == 7 and (few[0], few[-1]) == (0, 999) and few == sorted(set(few))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (Interval(7.98, 0.0512, 3), "7.980 ± 0.051"),
        (Interval(-1234.4, 210.0, 3), "−1,234 ± 210"),
        (Interval(8.0, 0.0, 3), "8 ± 0"),
        (Interval(0.25, None, 1), "0.25"),
        (Interval(2.1e-7, 3e-8, 3), "2.1e−07 ± 3e−08"),
    ],
)
def test_intervals_are_formatted_with_significant_digits(value: Interval, shown: str) -> None:
    assert format_interval(value) == shown


def test_final_value_of_a_run_directory(make_run: Callable[..., Path], tmp_path: Path) -> None:
    from detente.report.run_directory import read_run

    outcome = final_outcome(
        read_run(make_run(tmp_path / "gda", diverged={1: 1400}), "gda"), ("metrics", "modes_covered")
    )
    assert outcome.diverged == (1,) and outcome.interval is not None and outcome.interval.n == 2
