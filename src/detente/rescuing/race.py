"""The third stage: cures raced against each other by successive halving, the best one to the end."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from detente.rescuing.trial import Trial

LATER = 2.5  # how much longer the second round is
SECOND = 2  # trials in the second round
SHORTEST = 0.7  # share of a run that the winner gets at least, if the race has several trials
SHARES = (  # of a run, in the first round and in the winner's: a short first round tells little, a short last one costs
    *((first, last) for shares in ((1.0, 0.9), (0.8,), (0.7,)) for first in (0.15, 0.12, 0.1) for last in shares),
    *((first, last) for first in (0.08, 0.06, 0.04) for last in (1.0, 0.9, 0.8, 0.7)),
)


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


def plan_rounds(costs: Sequence[float], budget: float, preferred: int | None = None) -> Rounds:
    """Return the rounds that fit a budget, whichever trials win.

    If none do, the first round gets shorter, down to 0.1 of a run; then the winner's run, in case that the most
    expensive one wins, down to 0.7; then the first round again; then the most expensive trials are left out.

    Args:
        costs: cost of a step of each trial, relative to the user's own.
        budget: what may be spent, in whole runs of the user's own.
        preferred: index of a trial that is left out only if no race with it fits.
    """
    cheapest_first = sorted(range(len(costs)), key=lambda index: (index != preferred, costs[index]))
    for count in range(len(costs), 1, -1):
        taking_part = tuple(sorted(cheapest_first[:count]))
        chosen = sorted((costs[index] for index in taking_part), reverse=True)
        for first, last in SHARES:
            second = min(last, LATER * first)
            spent = first * sum(chosen) + (second - first) * sum(chosen[:SECOND]) + (last - second) * chosen[0]
            if spent <= budget:
                return Rounds(taking_part, *_lengthened(first, last, chosen, budget), last)
    if preferred is not None:
        return plan_rounds(costs, budget)
    share = min(1.0, budget / costs[cheapest_first[0]])
    return Rounds((cheapest_first[0],), share, share, share)


def _lengthened(first: float, last: float, costs: Sequence[float], budget: float) -> tuple[float, float]:
    """Return the longest first and second round that a budget has room for."""
    while True:
        longer = min(last, 1.05 * first)
        second = min(last, LATER * longer)
        spent = longer * sum(costs) + (second - longer) * sum(costs[:SECOND]) + (last - second) * costs[0]
        if spent > budget or longer == first:
            return first, min(last, LATER * first)
        first = longer


def race(trials: Sequence[Trial], rounds: Rounds) -> Iterator[tuple[Trial, int, int]]:
    """Train trials in three rounds, and yield each trial with its step and its next target after each tick.

    A winner that costs less than the most expensive trial, for which the rounds are planned, continues for as long.

    Args:
        trials: the trials.
        rounds: how far each round goes.
    """
    left = [trials[index] for index in rounds.taking_part]
    most = max(trial.step_cost * trial.whole for trial in left)
    for share, survivors in ((rounds.first, SECOND), (rounds.second, 1), (rounds.last, 1)):
        if len(left) == 1:
            share = min(1.0, rounds.second + (share - rounds.second) * most / (left[0].step_cost * left[0].whole))  # noqa: PLW2901
        for trial in left:
            target = max(1, math.floor(share * trial.whole + 1e-6))
            for step in trial.advance(target):
                yield trial, step, target
            trial.outcome = trial.observed.diverged or f"dropped after {trial.steps} of {trial.whole} steps"
        left = sorted(left, key=lambda trial: -trial.score)[:survivors]
    whole = "full run of" if left[0].steps >= left[0].whole else "run of"
    left[0].outcome = left[0].observed.diverged or f"{whole} {left[0].steps} steps"
