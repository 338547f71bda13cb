"""A probability that decays slowly at first, and then faster and faster."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from detente.errors import require
from detente.schedules.base import Schedule, require_steps


@dataclass(frozen=True)
class Annealed(Schedule):
    """Decay from 1/(offset + 1) to zero, slow at first and then faster and faster.

    Args:
        offset: constant added to the exponential, ≥ 0.
        steps: number of steps after which the exponential is e, at least 1.

    Source: probability of accepting a rejected step in Mangoubi, Sachdeva & Vishnoi's code (decreasing temperature).
    """

    precise = True

    offset: float = 4.0
    steps: int = 20_000

    def __post_init__(self) -> None:
        require(math.isfinite(self.offset) and self.offset >= 0, "offset", self.offset, "a finite number ≥ 0")
        require_steps(self.steps)

    def __call__(self, t: Tensor) -> Tensor:
        """Return 1/(offset + exp((t/steps)²))."""
        return 1 / (self.offset + torch.exp((t / self.steps) ** 2))
