"""Values by intervals of steps."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from detente.errors import require
from detente.schedules.base import Schedule, part


@dataclass(frozen=True)
class Piecewise(Schedule):
    """Constant between given steps: values[i] for boundaries[i−1] ≤ t < boundaries[i].

    Args:
        values: the values, one more than boundaries.
        boundaries: the steps at which the value changes, increasing.
    """

    precise = True

    values: tuple[float, ...]
    boundaries: tuple[int, ...]

    def __post_init__(self) -> None:
        require(len(self.values) >= 1 and all(map(math.isfinite, self.values)), "values", self.values, "finite numbers")
        _require_increasing("boundaries", self.boundaries)
        count = len(self.values) - 1
        require(len(self.boundaries) == count, "boundaries", self.boundaries, f"{count} for {count + 1} values")

    def __call__(self, t: Tensor) -> Tensor:
        """Return the value of the step's interval."""
        result = part(self.values[0], t)
        for boundary, number in zip(self.boundaries, self.values[1:], strict=True):
            result = torch.where(t >= boundary, part(number, t), result)
        return result


@dataclass(frozen=True)
class PiecewiseLinear(Schedule):
    """Linear between given points (steps[i], values[i]), and constant before the first and after the last.

    Args:
        values: the values at the points, at least one.
        steps: the steps of the points, increasing, as many as values.
    """

    precise = True

    values: tuple[float, ...]
    steps: tuple[int, ...]

    def __post_init__(self) -> None:
        require(len(self.values) >= 1 and all(map(math.isfinite, self.values)), "values", self.values, "finite numbers")
        _require_increasing("steps", self.steps)
        require(len(self.steps) == len(self.values), "steps", self.steps, f"{len(self.values)}, one for each value")

    def __call__(self, t: Tensor) -> Tensor:
        """Return the value on the line between the two points around the step."""
        result = part(self.values[0], t)
        for i in range(len(self.steps) - 1):
            share = ((t - self.steps[i]) / (self.steps[i + 1] - self.steps[i])).clamp(max=1.0)
            line = self.values[i] + (self.values[i + 1] - self.values[i]) * share
            result = torch.where(t >= self.steps[i], line, result)
        return result


def _require_increasing(field: str, steps: tuple[int, ...]) -> None:
    increasing = all(first < second for first, second in zip(steps, steps[1:], strict=False))
    require(increasing and all(step >= 0 for step in steps), field, steps, "increasing integers ≥ 0")
