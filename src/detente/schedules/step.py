"""A factor at regular intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from detente.errors import require
from detente.schedules.base import Schedule, require_finite, require_steps


@dataclass(frozen=True)
class Step(Schedule):
    """A value that is multiplied by `factor` every `every` steps.

    Args:
        start: value at step 0.
        factor: the factor, > 0.
        every: number of steps between two changes, at least 1.
    """

    precise = True

    start: float
    factor: float
    every: int

    def __post_init__(self) -> None:
        require_finite(self, "start")
        require(math.isfinite(self.factor) and self.factor > 0, "factor", self.factor, "a number > 0")
        require_steps(self.every, "every")

    def __call__(self, t: Tensor) -> Tensor:
        """Return start · factor^⌊t/every⌋."""
        changes = torch.div(t, self.every, rounding_mode="floor")
        return self.start * torch.pow(self.factor, changes)
