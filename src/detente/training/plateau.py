"""Optimizers that react to metrics, between the ticks of a training run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from detente.errors import require, unknown
from detente.metrics.base import Metric
from detente.optimizers.base import Optimizer, Wrapper
from detente.optimizers.reduce_on_plateau import ReduceOnPlateau
from detente.training.progress import Progress
from detente.training.run import Run


def require_metrics(run: Run, metrics: Mapping[str, Metric]) -> None:
    """Raise `InvalidValue` if an optimizer needs a metric that the run does not measure, or in the other direction.

    Args:
        run: the training run.
        metrics: the metrics that it measures, by name.
    """
    for optimizer in run.method.optimizers(run.game.players).values():
        for plateau in _plateaus(optimizer):
            if plateau.metric not in metrics:
                raise unknown("metric", plateau.metric, metrics)
            better = metrics[plateau.metric].better
            require(plateau.better == better, "better", plateau.better, f"{better!r} for the metric {plateau.metric}")


def reduce_on_plateau(
    run: Run, progress: tuple[Progress, ...], measured: Mapping[int, Mapping[str, float]]
) -> tuple[Progress, ...]:
    """Return the progress of every seed after its optimizers have seen the metrics.

    Args:
        run: the training run.
        progress: the progress of every seed.
        measured: metrics by seed.
    """
    if not any(True for o in run.method.optimizers(run.game.players).values() for _ in _plateaus(o)):
        return progress
    return tuple(
        replace(entry, state=run.method.observe(entry.state, measured[entry.seed])) if entry.seed in measured else entry
        for entry in progress
    )


def _plateaus(optimizer: Optimizer) -> Iterator[ReduceOnPlateau]:
    while isinstance(optimizer, Wrapper):
        if isinstance(optimizer, ReduceOnPlateau):
            yield optimizer
        optimizer = optimizer.optimizer
