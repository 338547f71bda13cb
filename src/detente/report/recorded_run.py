"""The contents of a run directory: configuration, seeds, measurements and metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, final

from detente.report.stamps import describe_differences, describe_stamp

Quantity = tuple[str, str]
GROUPS = {  # key in a line: heading
    "metrics": "Metrics",
    "losses": "Losses",
    "terms": "Terms of the losses",
    "gradient_norm": "Gradient norms",
}


@final
@dataclass(frozen=True)
class RecordedTick:
    """One line of ``metrics.jsonl``. A value that was not finite is None.

    Args:
        step: training step of the line.
        gradient_evaluations: number of player gradients evaluated so far; None if not recorded.
        seconds: training time so far (s); None if not recorded.
        values: value of each (group, name) measured at this step.
        memory: peak memory of the training so far (MiB); None if not recorded.
    """

    step: int
    gradient_evaluations: float | None
    seconds: float | None
    values: Mapping[Quantity, float | None]
    memory: float | None = None


@final
@dataclass(frozen=True)
class SeedStatus:
    """Status of one seed. `diverged_at` is the step at which it diverged, or None if it did not; `cause` says why."""

    status: str
    step: int
    seconds: float | None
    diverged_at: int | None = None
    cause: str = ""

    @property
    def diverged(self) -> bool:
        """Whether a loss or a parameter of this seed became non-finite."""
        return self.status == "diverged"


@final
@dataclass(frozen=True)
class RecordedMetric:
    """Title, unit and direction of a metric, and how it was measured; `better` is ``higher``, ``lower`` or ``none``."""

    title: str
    unit: str = ""
    better: str = "none"
    stamp: Mapping[str, str | int] = field(default_factory=dict)

    @property
    def measured(self) -> str:
        """How it was measured, in words; empty if that was not recorded."""
        return describe_stamp(self.stamp)


@final
@dataclass(frozen=True)
class RecordedRun:
    """One run directory, without its samples and spectra.

    A metric's name includes its stamp, so that values that were measured in different ways are different quantities.
    `unmeasured` gives the reason for each metric, by title, that the run requested and that does not apply to its game.
    """

    name: str
    path: Path
    configuration: Mapping[str, Any] = field(default_factory=dict)
    seeds: Mapping[int, SeedStatus] = field(default_factory=dict)
    ticks: Mapping[int, Sequence[RecordedTick]] = field(default_factory=dict)
    metrics: Mapping[str, RecordedMetric] = field(default_factory=dict)
    execution: str = ""
    notes: tuple[str, ...] = ()
    unmeasured: Mapping[str, str] = field(default_factory=dict)

    @property
    def diverged(self) -> tuple[int, ...]:
        """Seeds that diverged, in order."""
        return tuple(seed for seed, status in self.seeds.items() if status.diverged)

    def measured(self, quantity: Quantity) -> bool:
        """Whether any seed has a measurement of the quantity."""
        return any(quantity in tick.values for ticks in self.ticks.values() for tick in ticks)


def quantities(runs: Sequence[RecordedRun]) -> list[Quantity]:
    """Return every quantity that any run measured: metrics first, then losses, their terms, and gradient norms."""
    unique = dict.fromkeys(q for run in runs for ticks in run.ticks.values() for tick in ticks for q in tick.values)
    order = list(GROUPS)
    return sorted(unique, key=lambda quantity: order.index(quantity[0]))


def metric_quantities(runs: Sequence[RecordedRun]) -> list[Quantity]:
    """Return every metric that any run measured, as a quantity."""
    return [quantity for quantity in quantities(runs) if quantity[0] == "metrics"]


def describe_quantity(runs: Sequence[RecordedRun], quantity: Quantity) -> RecordedMetric:
    """Return title, unit and direction of a quantity; those of a metric come from the first run that describes it.

    If there are metrics of the same title with other stamps, the title also names the difference.
    """
    group, name = quantity
    if group == "metrics":
        metric = next(run.metrics[name] for run in runs if name in run.metrics)
        others = [other.stamp for run in runs for key, other in run.metrics.items() if other.title == metric.title]
        difference = describe_differences(metric.stamp, others)
        return replace(metric, title=f"{metric.title} ({difference})") if difference else metric
    if group == "terms":
        player, _, term = name.partition(".")
        return RecordedMetric(f"{player.replace('_', ' ').capitalize()}: {term}")
    kind = "loss" if group == "losses" else "gradient norm"
    return RecordedMetric(f"{name.replace('_', ' ').capitalize()}: {kind}")
