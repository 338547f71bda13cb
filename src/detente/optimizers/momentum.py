"""Gradient steps with momentum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from detente.errors import require
from detente.optimizers.base import Optimizer, decayed
from detente.schedules.base import Schedule, require_at_least_zero, require_positive, value


@dataclass(frozen=True)
class Momentum(Optimizer):
    """Heavy-ball or Nesterov momentum, which may be negative: m ← μ m + v, x ← x − η m (Nesterov: x − η (v + μ m)).

    With weight decay, v + λ x takes the place of v.

    Args:
        learning_rate: η, > 0, or a schedule.
        momentum: μ, in (−1, 1), or a schedule; negative values damp the rotation of games.
        nesterov: whether to use Nesterov momentum.
        weight_decay: λ, ≥ 0, or a schedule.

    Source: Polyak 1964; Nesterov 1983; `torch.optim.SGD`; negative momentum: Gidel et al. 2019 (arXiv:1807.04740).
    """

    elementwise: ClassVar[bool] = True

    learning_rate: float | Schedule = 0.01
    momentum: float | Schedule = 0.9
    nesterov: bool = False
    weight_decay: float | Schedule = 0.0

    def __post_init__(self) -> None:
        require_positive("learning_rate", self.learning_rate)
        valid = isinstance(self.momentum, Schedule) or -1 < self.momentum < 1
        require(valid, "momentum", self.momentum, "a number in (-1, 1), or a schedule")
        require_at_least_zero(self, "weight_decay")

    def initial(self, vector: Tensor) -> dict[str, Tensor]:
        """Return a zero momentum, (n,)."""
        return {"momentum": torch.zeros_like(vector)}

    def __call__(
        self, vector: Tensor, direction: Tensor, memory: dict[str, Tensor], t: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the vector moved along the momentum."""
        direction = decayed(self.weight_decay, vector, direction, t)
        momentum = value(self.momentum, t, vector.dtype)
        moment = momentum * memory["momentum"] + direction
        move = direction + momentum * moment if self.nesterov else moment
        return vector - value(self.learning_rate, t, vector.dtype) * move, {"momentum": moment}
