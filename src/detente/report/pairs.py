"""Each run against a baseline, seed by seed: the difference with its interval, and a test that assumes no shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

from detente.report.charts import metric_texts, quantities
from detente.report.run import Quantity, Run
from detente.report.statistics import CONFIDENCE, Interval, final_values, holm, interval, signed_rank_test

LEVEL = 1 - CONFIDENCE
FEWEST = 6  # unequal pairs: five can at best give p = 2/2⁵ = 0.0625


@final
@dataclass(frozen=True)
class Pair:
    """How a run differs from the baseline on one metric, over the seeds that ended in both.

    Args:
        better: which way is good, "higher" or "lower".
        difference: mean of the run's final values minus the baseline's, with its Student-t 95 % interval; None where
            no seed ended in both.
        unequal: pairs that differ, which are all that the test looks at.
        p: of the two-sided Wilcoxon signed-rank test.
        corrected: the same, corrected by Holm for all tests that are shown together.
        lost: the run's seeds without a final value: diverged, or not measured.
        baseline_lost: the baseline's.
    """

    better: str
    difference: Interval | None
    unequal: int
    p: float
    corrected: float
    lost: tuple[int, ...]
    baseline_lost: tuple[int, ...]

    @property
    def verdict(self) -> str:
        """`better`, `worse`, or an empty text where the data do not tell the two apart."""
        gap = self.difference
        if gap is None or self.corrected >= LEVEL or gap.low <= 0 <= gap.high:
            return ""
        wins = (gap.mean > 0) == (self.better == "higher")
        # Who loses seeds is not called better for those that survived.
        if self.lost if wins else self.baseline_lost:
            return ""
        return "better" if wins else "worse"

    @property
    def reason(self) -> str:
        """Why there is no verdict, where it is not simply that the differences are small."""
        if self.verdict:
            return ""
        if self.difference is None:
            return "no seed ended in both"
        if self.unequal == 0:
            return "equal in every seed"
        if self.unequal < FEWEST:
            return f"{self.unequal} unequal pair{'s' * (self.unequal > 1)} cannot reach p < 0.05, {FEWEST} could"
        if self.corrected >= LEVEL:
            return ""
        if self.difference.low <= 0 <= self.difference.high:
            return "the interval holds 0, so nothing is claimed"
        return "who lost seeds is not called better"


def pairs(runs: Sequence[Run], baseline: int, among: Sequence[int] | None = None) -> list[dict[int, Pair]]:
    """Return for every metric, as `standings` orders them, each run against the baseline, by the run's position.

    Args:
        runs: what was read.
        baseline: the baseline's position.
        among: positions of the runs that may be compared with it (default: all).
    """
    others = [index for index in (range(len(runs)) if among is None else among) if index != baseline]
    found: list[dict[int, Pair]] = []
    for quantity in [quantity for quantity in quantities(runs) if quantity[0] == "metrics"]:
        better = metric_texts(runs, quantity)[2]
        told = {index: _pair(runs[index], runs[baseline], quantity, better) for index in others if better != "none"}
        found.append({index: pair for index, pair in told.items() if pair is not None})
    tested = [(row, index) for row, told in enumerate(found) for index, pair in told.items() if pair.difference]
    for (row, index), p in zip(tested, holm([found[row][index].p for row, index in tested]), strict=True):
        found[row][index] = replace(found[row][index], corrected=p)
    return found


def _pair(run: Run, baseline: Run, quantity: Quantity, better: str) -> Pair | None:
    """Return the pair of two runs, None where one of them never measured the quantity."""
    if not all(any(quantity in t.values for line in one.ticks.values() for t in line) for one in (run, baseline)):
        return None
    ours, theirs = final_values(run, quantity), final_values(baseline, quantity)
    gaps = [ours[s] - theirs[s] for s in ours if ours[s] is not None and theirs.get(s) is not None]  # type: ignore[operator]
    p, unequal = signed_rank_test(gaps)
    lost, theirs_lost = (
        [s for s in one.seeds if known.get(s) is None] for one, known in ((run, ours), (baseline, theirs))
    )
    return Pair(better, interval(gaps), unequal, p, p, tuple(lost), tuple(theirs_lost))
