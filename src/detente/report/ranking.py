"""Ranking of the runs by a metric. A winner is named only if its interval overlaps no other run's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import final

from detente.report.recorded_run import Quantity, RecordedRun, RecordedTick, describe_quantity, metric_quantities
from detente.report.statistics import FinalValues, final_outcome


@final
@dataclass(frozen=True)
class Ranking:
    """The final outcomes of one metric over all runs. Runs are given by their positions.

    Args:
        title: of the metric.
        unit: of the metric.
        better: direction of the metric, ``higher``, ``lower`` or ``none``.
        outcomes: final outcome of each run.
        best: runs that share the best mean; empty if the metric has no direction or was not measured.
        winner: the run with the best mean, if its interval overlaps no other run's; else None.
        overlapping: runs whose intervals overlap that of the best run.
        reason: why there is no winner; empty if there is one, or if there is nothing to compare.
        measured: how the metric was measured, in words.
        earlier: step of the last value, by run, where the run has later values of other metrics.
    """

    title: str
    unit: str
    better: str
    outcomes: tuple[FinalValues, ...]
    best: tuple[int, ...] = ()
    winner: int | None = None
    overlapping: tuple[int, ...] = ()
    reason: str = ""
    measured: str = ""
    earlier: Mapping[int, int] = field(default_factory=dict)

    @property
    def only_run(self) -> int | None:
        """The only run that measured the metric; None if several did, or the seeds of others diverged."""
        measured = [index for index, outcome in enumerate(self.outcomes) if outcome.interval or outcome.diverged]
        return measured[0] if len(measured) == 1 else None


def rankings(runs: Sequence[RecordedRun]) -> list[Ranking]:
    """Return the ranking by every metric, in the order in which the runs recorded them."""
    return [_ranking(runs, quantity) for quantity in metric_quantities(runs)]


def _ranking(runs: Sequence[RecordedRun], quantity: Quantity) -> Ranking:
    metric = describe_quantity(runs, quantity)
    outcomes = tuple(final_outcome(run, quantity) for run in runs)
    earlier = {index: step for index, run in enumerate(runs) if (step := _earlier_step(run, quantity)) is not None}
    intervals = {index: outcome.interval for index, outcome in enumerate(outcomes) if outcome.interval}
    if metric.better == "none" or not intervals:
        return Ranking(metric.title, metric.unit, metric.better, outcomes, measured=metric.measured, earlier=earlier)
    means = {index: interval.mean for index, interval in intervals.items()}
    top = max(means.values()) if metric.better == "higher" else min(means.values())
    best = tuple(index for index, mean in means.items() if mean == top)
    first = best[0]
    others = {index: interval for index, interval in intervals.items() if index != first}
    overlapping = tuple(index for index, interval in others.items() if interval.overlaps(intervals[first]))
    reason = _no_winner_reason(runs, outcomes, first, overlapping)
    winner = first if others and not reason else None
    return Ranking(
        metric.title,
        metric.unit,
        metric.better,
        outcomes,
        best,
        winner,
        overlapping,
        reason,
        metric.measured,
        earlier,
    )


def _earlier_step(run: RecordedRun, quantity: Quantity) -> int | None:
    """Return the step of the quantity's last value if other metrics have later ones, otherwise None."""
    steps = [(t.step, quantity in t.values) for ticks in run.ticks.values() for t in ticks if _has_metrics(t)]
    last, measured_steps = max((step for step, _ in steps), default=0), [step for step, measured in steps if measured]
    return max(measured_steps) if measured_steps and max(measured_steps) < last else None


def _has_metrics(tick: RecordedTick) -> bool:
    return any(group == "metrics" for group, _ in tick.values)


def _no_winner_reason(
    runs: Sequence[RecordedRun], outcomes: Sequence[FinalValues], first: int, overlapping: tuple[int, ...]
) -> str:
    """Return why the run with the best mean is not the winner, or an empty string if it is."""
    outcome = outcomes[first]
    if outcome.diverged:
        return f"{len(outcome.diverged)} of its {len(runs[first].seeds)} seeds diverged"
    if outcome.missing:
        verb = "has" if len(outcome.missing) == 1 else "have"
        return f"{len(outcome.missing)} of its {len(runs[first].seeds)} seeds {verb} no finite final value"
    if any(other.interval and other.interval.half_width is None for other in outcomes):
        return "a single seed gives no interval"
    return "the 95 % intervals overlap" if overlapping else ""
