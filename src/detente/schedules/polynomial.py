"""A power of a straight line."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from detente.errors import require
from detente.schedules.base import Schedule, require_finite, require_steps


@dataclass(frozen=True)
class Polynomial(Schedule):
    """From `start` to `end` along a power of a straight line, then constant.

    Args:
        start: value at step 0.
        end: value from step `steps` on.
        steps: number of steps until the end, at least 1.
        power: the exponent, > 0; with 1, this is `Linear`.
    """

    precise = True

    start: float
    end: float
    steps: int
    power: float = 2.0

    def __post_init__(self) -> None:
        require_finite(self, "start", "end")
        require_steps(self.steps)
        require(math.isfinite(self.power) and self.power > 0, "power", self.power, "a number > 0")

    def __call__(self, t: Tensor) -> Tensor:
        """Return end + (start − end) (1 − min(t/steps, 1))^power."""
        return self.end + (self.start - self.end) * (1 - (t / self.steps).clamp(max=1.0)) ** self.power
