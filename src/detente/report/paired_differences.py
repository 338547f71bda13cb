"""Each run against a baseline, seed by seed: the mean difference with its interval, and a signed-rank test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import final

from detente.report.recorded_run import Quantity, RecordedRun, describe_quantity, metric_quantities
from detente.report.statistics import CONFIDENCE, Interval, confidence_interval, final_values, holm, signed_rank_test

SIGNIFICANCE_LEVEL = 1 - CONFIDENCE
FEWEST_PAIRS = 6  # with five pairs, p is at least 2/2⁵ = 0.0625


@final
@dataclass(frozen=True)
class PairedDifference:
    """The difference between a run and the baseline on one metric, over the seeds that have a final value in both.

    Args:
        better: direction of the metric, ``higher`` or ``lower``.
        difference: mean of the run's final values minus the baseline's, with its Student-t 95 % interval; None if no
            seed has a final value in both runs.
        unequal: number of seeds whose values differ; the test uses only these.
        p: p-value of the two-sided Wilcoxon signed-rank test.
        corrected: p-value after Holm's correction for all tests that are shown together.
        lost: seeds of the run without a final value, because they diverged or were not measured.
        baseline_lost: seeds of the baseline without a final value.
    """

    better: str
    difference: Interval | None
    unequal: int
    p: float
    corrected: float
    lost: tuple[int, ...]
    baseline_lost: tuple[int, ...]

    @property
    def conclusion(self) -> str:
        """``better`` or ``worse``, or an empty string if the difference is not significant."""
        difference = self.difference
        if difference is None or self.corrected >= SIGNIFICANCE_LEVEL or difference.low <= 0 <= difference.high:
            return ""
        wins = (difference.mean > 0) == (self.better == "higher")
        # The surviving seeds of a run that lost others are not representative.
        if self.lost if wins else self.baseline_lost:
            return ""
        return "better" if wins else "worse"

    @property
    def reason(self) -> str:
        """Why there is no summary; empty if there is one, or if the difference is just too small."""
        if self.conclusion:
            return ""
        if self.difference is None:
            return "no seed finished in both runs"
        if self.unequal == 0:
            return "equal for every seed"
        if self.unequal < FEWEST_PAIRS:
            pairs = "1 pair differs" if self.unequal == 1 else f"{self.unequal} pairs differ"
            return f"only {pairs}; p < 0.05 needs at least {FEWEST_PAIRS}"
        if self.corrected >= SIGNIFICANCE_LEVEL:
            return ""
        if self.difference.low <= 0 <= self.difference.high:
            return "the interval contains 0"
        return "a run that lost seeds is not called better"


def paired_differences(
    runs: Sequence[RecordedRun], baseline: int, among: Sequence[int] | None = None
) -> list[dict[int, PairedDifference]]:
    """Return, for every metric in the order of `rankings`, the difference of each run from the baseline by position.

    Args:
        runs: the runs.
        baseline: position of the baseline.
        among: positions of the runs to compare with it. Default: all.
    """
    others = [index for index in (range(len(runs)) if among is None else among) if index != baseline]
    rows = [_row(runs, baseline, others, quantity) for quantity in metric_quantities(runs)]
    tested = [(row, index) for row in rows for index, pair in row.items() if pair.difference]
    corrected = holm([row[index].p for row, index in tested])
    for (row, index), p in zip(tested, corrected, strict=True):
        row[index] = replace(row[index], corrected=p)
    return rows


def _row(
    runs: Sequence[RecordedRun], baseline: int, others: Sequence[int], quantity: Quantity
) -> dict[int, PairedDifference]:
    better = describe_quantity(runs, quantity).better
    if better == "none" or not runs[baseline].measured(quantity):
        return {}
    return {
        index: _paired_difference(runs[index], runs[baseline], quantity, better)
        for index in others
        if runs[index].measured(quantity)
    }


def _paired_difference(run: RecordedRun, baseline: RecordedRun, quantity: Quantity, better: str) -> PairedDifference:
    values, baseline_values = final_values(run, quantity), final_values(baseline, quantity)
    differences = [
        value - baseline_value
        for seed, value in values.items()
        if value is not None and (baseline_value := baseline_values.get(seed)) is not None
    ]
    p, unequal = signed_rank_test(differences)
    without_value, baseline_lost = _seeds_without_value(run, values), _seeds_without_value(baseline, baseline_values)
    return PairedDifference(better, confidence_interval(differences), unequal, p, p, without_value, baseline_lost)


def _seeds_without_value(run: RecordedRun, values: Mapping[int, float | None]) -> tuple[int, ...]:
    return tuple(seed for seed in run.seeds if values.get(seed) is None)
