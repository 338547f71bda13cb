"""What the report knows about one run: its configuration, seeds, ticks and metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

Quantity = tuple[str, str]


@final
@dataclass(frozen=True)
class Tick:
    """One line of ``metrics.jsonl``; a value that was not finite is None.

    Args:
        step: training step of the line.
        gradient_evaluations: player gradients evaluated so far, None where not written.
        seconds: training time so far (s), None where not written.
        values: value of each (group, name) measured on this tick.
        memory: the largest memory of the training so far (MiB), None where not written.
    """

    step: int
    gradient_evaluations: float | None
    seconds: float | None
    values: Mapping[Quantity, float | None]
    memory: float | None = None


@final
@dataclass(frozen=True)
class SeedStatus:
    """How one seed ended (or is going); `diverged_at` is a step, None where it did not diverge."""

    status: str
    step: int
    seconds: float | None
    diverged_at: int | None = None

    @property
    def diverged(self) -> bool:
        """Whether a loss or a parameter of this seed became non-finite."""
        return self.status == "diverged"


@final
@dataclass(frozen=True)
class Metric:
    """How a metric is shown; `better` is ``higher``, ``lower`` or ``none``."""

    title: str
    unit: str = ""
    better: str = "none"


@final
@dataclass(frozen=True)
class Run:
    """Everything the report knows about one run directory except its pictures."""

    name: str
    path: Path
    configuration: Mapping[str, Any] = field(default_factory=dict)
    seeds: Mapping[int, SeedStatus] = field(default_factory=dict)
    ticks: Mapping[int, Sequence[Tick]] = field(default_factory=dict)
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    execution: str = ""
    notes: tuple[str, ...] = ()

    @property
    def diverged(self) -> tuple[int, ...]:
        """Seeds that diverged, in order."""
        return tuple(seed for seed, status in self.seeds.items() if status.diverged)
