"""Who stands where on a metric: a winner is claimed only where the data separate it from every other run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from detente.report.charts import metric_texts, quantities
from detente.report.run import Quantity, Run
from detente.report.statistics import Outcome, final_outcome


@final
@dataclass(frozen=True)
class Standing:
    """The final outcomes of one metric over all runs, by position.

    Args:
        best: runs that share the best mean; empty where the metric has no better direction or was not measured.
        winner: the run whose interval is apart from, and better than, every other run's; None where none is claimed.
        overlapping: runs whose interval meets the interval of the best run.
        reason: in words, why no winner is claimed; empty where one is, or where there is nothing to claim.
    """

    title: str
    unit: str
    better: str
    outcomes: tuple[Outcome, ...]
    best: tuple[int, ...] = ()
    winner: int | None = None
    overlapping: tuple[int, ...] = ()
    reason: str = ""

    @property
    def alone(self) -> int | None:
        """The only run in which the metric was measured; None where there are more, or others diverged."""
        there = [index for index, outcome in enumerate(self.outcomes) if outcome.interval or outcome.diverged]
        return there[0] if len(there) == 1 else None


def standings(runs: Sequence[Run]) -> list[Standing]:
    """Return the standing of every metric, in the order in which the runs wrote them."""
    return [_standing(runs, quantity) for quantity in quantities(runs) if quantity[0] == "metrics"]


def _standing(runs: Sequence[Run], quantity: Quantity) -> Standing:
    title, unit, better = metric_texts(runs, quantity)
    outcomes = tuple(final_outcome(run, quantity) for run in runs)
    known = {index: outcome.interval for index, outcome in enumerate(outcomes) if outcome.interval}
    if better == "none" or not known:
        return Standing(title, unit, better, outcomes)
    means = {index: entry.mean for index, entry in known.items()}
    top = max(means.values()) if better == "higher" else min(means.values())
    best = tuple(index for index, mean in means.items() if mean == top)
    first = best[0]
    others = {index: entry for index, entry in known.items() if index != first}
    overlapping = tuple(index for index, entry in others.items() if entry.overlaps(known[first]))
    reason = _reason(runs, outcomes, first, overlapping)
    winner = first if others and not reason else None
    return Standing(title, unit, better, outcomes, best, winner, overlapping, reason)


def _reason(runs: Sequence[Run], outcomes: Sequence[Outcome], first: int, overlapping: tuple[int, ...]) -> str:
    """Return why the run with the best mean is not called the winner, an empty text where it may be."""
    outcome = outcomes[first]
    if outcome.diverged:
        return f"{len(outcome.diverged)} of its {len(runs[first].seeds)} seeds diverged"
    if outcome.missing:
        return f"{len(outcome.missing)} of its {len(runs[first].seeds)} seeds have no finite final value"
    if any(entry.interval and entry.interval.half_width is None for entry in outcomes):
        return "a single seed gives no interval"
    return "the 95 % intervals overlap" if overlapping else ""
