"""Exponential decay."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from detente.errors import require
from detente.schedules.base import Schedule, require_finite, require_steps


@dataclass(frozen=True)
class Exponential(Schedule):
    """Exponential decay from `start`: a factor of `decay` per `steps` steps, applied continuously.

    For a factor that is applied once every `steps` steps, use `Step`.

    Args:
        start: value at step 0.
        decay: factor per `steps` steps, > 0.
        steps: number of steps per factor, at least 1.
    """

    precise = True

    start: float
    decay: float
    steps: int

    def __post_init__(self) -> None:
        require_finite(self, "start")
        require(math.isfinite(self.decay) and self.decay > 0, "decay", self.decay, "a number > 0")
        require_steps(self.steps)

    def __call__(self, t: Tensor) -> Tensor:
        """Return start · decay^(t/steps)."""
        return self.start * torch.exp(math.log(self.decay) * t / self.steps)
