"""The third stage: cures raced against each other by successive halving, the best one to the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from detente.rescuing.trial import Trial

LEAST, LATER = 0.04, 2.5  # shortest first round (share of a run), and how much longer the second is
SECOND = 2  # trials in the second round


@dataclass(frozen=True)
class Rounds:
    """How far each round of a race goes, as a share of a whole run.

    Args:
        taking_part: indices of the trials in the first round.
        first: share of a run in the first round.
        second: share at the end of the second round.
        last: share at the end of the winner's run, at most 1.
    """

    taking_part: tuple[int, ...]
    first: float
    second: float
    last: float


def plan_rounds(costs: Sequence[float], budget: float) -> Rounds:
    """Return the rounds that fit a budget, whichever trials win; the most expensive trials are left out if none do.

    Args:
        costs: cost of a step of each trial, relative to the user's own.
        budget: what may be spent, in whole runs of the user's own.
    """
    cheapest_first = sorted(range(len(costs)), key=lambda index: costs[index])
    for count in range(len(costs), 1, -1):
        taking_part = tuple(sorted(cheapest_first[:count]))
        chosen, first = sorted((costs[index] for index in taking_part), reverse=True), 1.0
        while first >= LEAST:
            second = min(1.0, LATER * first)
            spent = first * sum(chosen) + (second - first) * sum(chosen[:SECOND]) + (1.0 - second) * chosen[0]
            if spent <= budget:
                return Rounds(taking_part, first, second, 1.0)
            first *= 0.9
    share = min(1.0, budget / costs[cheapest_first[0]])
    return Rounds((cheapest_first[0],), share, share, share)


def race(trials: Sequence[Trial], rounds: Rounds, steps: int) -> Iterator[tuple[Trial, int, int]]:
    """Train trials in three rounds, and yield each trial with its step and its next goal after each tick.

    Args:
        trials: the trials.
        rounds: how far each round goes.
        steps: steps of a whole run.
    """
    left = [trials[index] for index in rounds.taking_part]
    for share, survivors in ((rounds.first, SECOND), (rounds.second, 1), (rounds.last, 1)):
        goal = max(1, round(share * steps))
        for trial in left:
            for step in trial.advance(goal):
                yield trial, step, goal
            trial.outcome = trial.observed.diverged or f"dropped after {trial.steps} of {steps} steps"
        left = sorted(left, key=lambda trial: -trial.score)[:survivors]
    left[0].outcome = left[0].observed.diverged or f"full run of {left[0].steps} steps"
