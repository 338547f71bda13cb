"""A learning-rate sweep before a comparison, on separate seeds, so that no method wins by a lucky rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from detente.comparison.budget import shorten
from detente.comparison.config import TRIAL_SEEDS as SEEDS
from detente.errors import InvalidValue
from detente.game import Game
from detente.training.loop import Tick, applicable, train
from detente.training.run import Run

SHARE = 0.2  # fraction of the comparison's budget
FACTORS = (0.1, 0.3, 1.0, 3.0, 10.0)  # multiples of the method's default rate
PREFERRED_METRICS = ("distance_to_solution", "modes_covered")  # metrics that rank rates first, if the game has them

Track = Callable[[Iterator[Tick], Run], Iterator[Tick]]


@dataclass(frozen=True)
class Trial:
    """The result of training with one learning rate.

    Args:
        rate: learning rate of the first player.
        values: last value of each seed by metric; None if it is missing.
        mean: mean over seeds of the first metric; None if a seed has no value.
        diverged: seeds that diverged.
    """

    rate: float
    values: Mapping[str, Sequence[float | None]]
    mean: float | None
    diverged: Sequence[int]


def metric_directions(game: Game) -> dict[str, str]:
    """Return "higher" or "lower" for each metric by name; the first metric ranks rates, the others break ties.

    Raises:
        InvalidValue: no metric of the game has a direction.
    """
    directions = {name: metric.better for name, metric in applicable(game).items() if metric.better != "none"}
    if not directions:
        name = type(game).__name__
        raise InvalidValue(
            "tune",
            name,
            "a game with a metric that can rank learning rates",
            "None applies; give each method its rate",
        )
    return {name: directions[name] for name in [*filter(directions.__contains__, PREFERRED_METRICS), *directions]}


def trial_run(run: Run) -> Run:
    """Return the run for a trial: a fraction of the budget, the sweep's seeds, and one measurement at the end."""
    short_run = shorten(run, SHARE)
    steps = short_run.steps
    intervals = {"record_every": max(1, steps // 20), "measure_every": steps, "checkpoint_every": steps}
    # A trial is not logged, and its only measurement is its last.
    options = {"metrics": (), "loggers": None, "stop_when": None, "patience": None}
    return replace(short_run, seeds=SEEDS, **options, **intervals)


def run_trial(run: Run, rate: float, track: Track = lambda ticks, run: ticks) -> Trial:
    """Train a run in memory and return its result.

    Args:
        run: the run at this rate, from `trial_run`.
        rate: learning rate to report.
        track: wraps the iterator of ticks, e.g. to show progress.
    """
    last: Tick | None = None
    for tick in track(train(run), run):
        last = tick
    assert last is not None, "a training yields at least one tick"
    diverged = [progress.seed for progress in last.progress if progress.diverged_at is not None]
    values = {
        name: [_number(last.metrics.get(seed, {}).get(name)) for seed in run.seeds]
        for name in metric_directions(run.game)
    }
    return trial_of(rate, values, diverged)


def trial_of(rate: float, values: Mapping[str, Sequence[float | None]], diverged: Sequence[int]) -> Trial:
    """Return the trial with these values, by metric in the order that decides, and these diverged seeds."""
    return Trial(rate, values, _mean(next(iter(values.values()))), list(diverged))


def best_trial(trials: Sequence[Trial], directions: Mapping[str, str], default_rate: float) -> Trial:
    """Return the best trial: fewest diverged seeds, then the metrics in order, then the rate nearest to the default.

    Args:
        trials: trials of one method, at least one.
        directions: direction of each metric, from `metric_directions`.
        default_rate: the learning rate without a sweep.
    """
    return max(trials, key=lambda trial: (*_score(trial, directions), -abs(math.log(trial.rate / default_rate))))


def remark(trials: Sequence[Trial], best: Trial, directions: Mapping[str, str]) -> str:
    """Return a warning about the selected rate; empty if there is none."""
    if best.diverged:
        return "seeds diverged at every rate"
    if len(trials) > 1 and len({_score(trial, directions) for trial in trials}) == 1:
        return "all rates gave the same result"
    if len(trials) > 1 and best.rate in (max(t.rate for t in trials), min(t.rate for t in trials)):
        return "at the edge of the tried range: a better rate may lie outside"
    return ""


def _score(trial: Trial, directions: Mapping[str, str]) -> tuple[float, ...]:
    means = [(_mean(trial.values.get(name, ())), direction) for name, direction in directions.items()]
    signed = [-math.inf if mean is None else mean if direction == "higher" else -mean for mean, direction in means]
    return (-len(trial.diverged), *signed)


def _mean(values: Sequence[float | None]) -> float | None:
    finite = [value for value in values if value is not None]
    return sum(finite) / len(finite) if finite and len(finite) == len(values) else None


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
