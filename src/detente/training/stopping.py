"""Early stopping: a seed stops when a metric reaches a threshold, or no longer improves."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from detente.errors import InvalidValue, require, unknown
from detente.metrics.base import Metric

if TYPE_CHECKING:
    from detente.training.progress import Progress

ALLOWED = "METRIC < NUMBER, METRIC > NUMBER, or METRIC together with patience, e.g. 'modes_covered > 7.5'"
RULE = re.compile(r"\s*([\w.]+)\s*(?:([<>])\s*([-+.\w]+)\s*)?")


@dataclass(frozen=True)
class Stopping:
    """When a seed stops before the end of its run.

    Args:
        metric: name of a metric that the run measures.
        below: whether the seed stops below (True) or above (False) the threshold.
        threshold: value that the metric must pass; None for no threshold.
        patience: number of consecutive measurements without a better value, ≥ 1; None for no limit.
    """

    metric: str
    below: bool = True
    threshold: float | None = None
    patience: int | None = None

    @classmethod
    def of(cls, rule: str | None, patience: int | None) -> Stopping | None:
        """Return the rule of a run: a text such as `modes_covered > 7.5`, or a metric's name with a patience, or None.

        Raises:
            InvalidValue: the text is no rule, or there is neither a threshold nor a patience.
        """
        if rule is None:
            return None
        match = RULE.fullmatch(rule)
        require(match is not None, "stop_when", rule, ALLOWED)
        assert match is not None
        try:
            threshold = None if match[3] is None else float(match[3])
        except ValueError as error:
            raise InvalidValue("stop_when", rule, ALLOWED) from error
        require(threshold is None or math.isfinite(threshold), "stop_when", rule, ALLOWED)
        require(threshold is not None or patience is not None, "stop_when", rule, ALLOWED, "Set patience, e.g. to 5")
        return cls(match[1], match[2] == "<", threshold, patience)

    def check(self, metrics: Mapping[str, Metric]) -> None:
        """Raise `InvalidValue` if the metric is not among those that are measured, or has no better side."""
        if self.metric not in metrics:
            if not metrics:
                allowed = "a metric that is measured"
                raise InvalidValue("stop_when", self.metric, allowed, "None is; name it in --metrics (metrics=[…])")
            raise unknown("stop_when", self.metric, metrics)
        ranked = self.patience is None or metrics[self.metric].better != "none"
        require(ranked, "patience", self.patience, f"None, since no value of {self.metric} is better than another")

    def after(self, progress: Progress, value: float, metric: Metric) -> Progress:
        """Return the progress of a seed after a measurement of the metric; a value of NaN is never better."""
        sign = -1 if metric.better == "lower" else 1
        better = not math.isnan(value) and (progress.best is None or sign * value > sign * progress.best)
        best, waited = (value, 0) if better else (progress.best, progress.waited + 1)
        passed = self.threshold is not None and (value < self.threshold if self.below else value > self.threshold)
        stops = passed or (self.patience is not None and waited >= self.patience)
        return replace(progress, best=best, waited=waited, stopped_at=progress.step if stops else None)

    def reason(self, progress: Progress) -> str:
        """Return why a seed stopped, for status.json."""
        if self.patience is not None and progress.waited >= self.patience:
            return f"{self.metric} was not better than {progress.best} in {self.patience} measurements"
        return f"{self.metric} {'<' if self.below else '>'} {self.threshold:g}"


def stop_seeds(
    rule: Stopping | None,
    progress: tuple[Progress, ...],
    measured: Mapping[int, Mapping[str, float]],
    metrics: Mapping[str, Metric],
) -> tuple[Progress, ...]:
    """Return the progress of all seeds after a measurement; those that meet the rule have stopped.

    Args:
        rule: the rule, or None.
        progress: the progress of every seed.
        measured: metrics by seed; seeds without metrics do not change.
        metrics: the metrics by name.
    """
    if rule is None:
        return progress
    return tuple(
        rule.after(entry, measured[entry.seed][rule.metric], metrics[rule.metric]) if entry.seed in measured else entry
        for entry in progress
    )
