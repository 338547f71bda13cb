"""Half a cosine."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from detente.schedules.base import Schedule, require_finite, require_steps


@dataclass(frozen=True)
class Cosine(Schedule):
    """Half a cosine from `start` to `end` over `steps` steps, then constant.

    Args:
        start: value at step 0.
        end: value from step `steps` on.
        steps: number of steps of the half cosine, at least 1.

    Source: Loshchilov & Hutter 2017, SGDR (arXiv:1608.03983), eq. 5, without restarts.
    """

    precise = True

    start: float
    end: float
    steps: int

    def __post_init__(self) -> None:
        require_finite(self, "start", "end")
        require_steps(self.steps)

    def __call__(self, t: Tensor) -> Tensor:
        """Return end + (start − end) (1 + cos(π min(t/steps, 1)))/2."""
        return self.end + (self.start - self.end) * 0.5 * (1 + torch.cos(math.pi * (t / self.steps).clamp(max=1.0)))
