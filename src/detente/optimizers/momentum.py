"""Gradient steps with momentum."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from detente.errors import require
from detente.optimizers.base import Optimizer
from detente.schedule import Schedule, require_positive, value


@dataclass(frozen=True)
class Momentum(Optimizer):
    """Heavy-ball or Nesterov momentum, which may be negative: m ← μ m + v, x ← x − η m (Nesterov: x − η (v + μ m)).

    Args:
        learning_rate: η, > 0, or a schedule.
        momentum: μ, in (−1, 1); negative values damp the rotation of games.
        nesterov: whether to use Nesterov momentum.

    Source: Polyak 1964; Nesterov 1983; `torch.optim.SGD`; negative momentum: Gidel et al. 2019 (arXiv:1807.04740).
    """

    learning_rate: float | Schedule = 0.01
    momentum: float = 0.9
    nesterov: bool = False

    def __post_init__(self) -> None:
        require_positive("learning_rate", self.learning_rate)
        require(-1 < self.momentum < 1, "momentum", self.momentum, "a number in (-1, 1)")

    def initial(self, vector: Tensor) -> dict[str, Tensor]:
        """Return a zero momentum, (n,)."""
        return {"momentum": torch.zeros_like(vector)}

    def __call__(
        self, vector: Tensor, direction: Tensor, memory: dict[str, Tensor], t: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the vector moved along the momentum."""
        moment = self.momentum * memory["momentum"] + direction
        move = direction + self.momentum * moment if self.nesterov else moment
        return vector - value(self.learning_rate, t, vector.dtype) * move, {"momentum": moment}
