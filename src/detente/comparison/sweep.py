"""A sweep of learning rates before a comparison, on seeds of its own, so that no method wins by a lucky rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from detente.comparison.budget import shortened
from detente.errors import InvalidValue
from detente.game import Game
from detente.training.loop import Tick, applicable, train
from detente.training.run import Run

SEEDS = (1000, 1001, 1002)
SHARE = 0.2  # of the comparison's budget
FACTORS = (0.1, 0.3, 1.0, 3.0, 10.0)  # of the method's own rate
FIRST = ("distance_to_solution", "modes_covered")  # metrics that decide, where a game has them

Track = Callable[[Iterator[Tick], Run], Iterator[Tick]]


@dataclass(frozen=True)
class Trial:
    """What became of one learning rate.

    Args:
        rate: of the first player.
        values: by metric, each seed's last value, None where there is none.
        mean: over seeds, of the metric that decides; None where a seed has no value.
        diverged: seeds that were lost.
    """

    rate: float
    values: Mapping[str, Sequence[float | None]]
    mean: float | None
    diverged: Sequence[int]

    def told(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)


def deciding(game: Game) -> dict[str, str]:
    """Return by name which way each metric of a game is good; the first decides, the others where it ties.

    Raises:
        InvalidValue: the game has no metric that says what is better.
    """
    directions = {name: metric.better for name, metric in applicable(game).items() if metric.better != "none"}
    if not directions:
        name = type(game).__name__
        raise InvalidValue("tune", name, "a game with a metric that says which rate is better", "None applies to this")
    return {name: directions[name] for name in [*filter(directions.__contains__, FIRST), *directions]}


def shorter(run: Run) -> Run:
    """Return the run that one rate is tried by: a share of its budget, on the sweep's seeds, measured at its end."""
    trial_run = shortened(run, SHARE)
    steps = trial_run.steps
    every = {"record_every": max(1, steps // 20), "measure_every": steps, "checkpoint_every": steps}
    return replace(trial_run, seeds=SEEDS, **every)


def tried(run: Run, rate: float, track: Track = lambda ticks, run: ticks) -> Trial:
    """Return what becomes of a run that is trained in memory.

    Args:
        run: already at this rate, as `shorter` makes it.
        rate: what to call it.
        track: shows the ticks to somebody.
    """
    last: Tick | None = None
    for tick in track(train(run), run):
        last = tick
    assert last is not None, "a training has ticks"
    diverged = [seed_progress.seed for seed_progress in last.progress if seed_progress.diverged_at is not None]
    values = {
        name: [_number(last.metrics.get(seed, {}).get(name)) for seed in run.seeds] for name in deciding(run.game)
    }
    return Trial(rate, values, _mean(next(iter(values.values()))), diverged)


def best(trials: Sequence[Trial], better: Mapping[str, str], usual: float) -> Trial:
    """Return the trial that lost fewest seeds, then is best by the metrics in their order, then nearest the usual rate.

    Args:
        trials: of one method, at least one.
        better: as `deciding` returns it.
        usual: the rate without a sweep.
    """
    return max(trials, key=lambda trial: (*_score(trial, better), -abs(math.log(trial.rate / usual))))


def remark(trials: Sequence[Trial], best: Trial, better: Mapping[str, str]) -> str:
    """Return what a reader should know about a choice; an empty text where all is well."""
    if best.diverged:
        return "every rate lost seeds"
    if len(trials) > 1 and len({_score(trial, better) for trial in trials}) == 1:
        return "all rates ended alike"
    if len(trials) > 1 and best.rate in (max(t.rate for t in trials), min(t.rate for t in trials)):
        return "at the edge of the rates tried: a better one may lie beyond"
    return ""


def _score(trial: Trial, better: Mapping[str, str]) -> tuple[float, ...]:
    means = [(_mean(trial.values.get(name, ())), way) for name, way in better.items()]
    signed = [-math.inf if mean is None else mean if way == "higher" else -mean for mean, way in means]
    return (-len(trial.diverged), *signed)


def _mean(values: Sequence[float | None]) -> float | None:
    finite = [value for value in values if value is not None]
    return sum(finite) / len(finite) if finite and len(finite) == len(values) else None


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
