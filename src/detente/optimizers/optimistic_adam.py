"""Adam with extrapolated moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from detente.errors import require
from detente.optimizers.base import Optimizer, mixed, require_betas
from detente.schedules.base import Schedule, require_positive, value


@dataclass(frozen=True)
class OptimisticAdam(Optimizer):
    """Optimistic Adam: x ← x − 2 a_t + a_{t−1} with Adam's moves a_t = η m̂_t/(√ŝ_t + ε), and a_{−1} = a_0.

    The first step is Adam's. Published implementations differ: one stores a move that is two steps old, and another
    uses the current move because it stores the gradient by reference. This one uses the previous move.

    Args:
        learning_rate: η, > 0, or a schedule.
        betas: (β₁, β₂), each in [0, 1) or a schedule.
        epsilon: ε, > 0.

    Source: Daskalakis, Ilyas, Syrgkanis & Zeng 2018, Training GANs with Optimism (arXiv:1711.00141), Algorithm 1.
    """

    elementwise: ClassVar[bool] = True

    learning_rate: float | Schedule = 1e-4
    betas: tuple[float | Schedule, float | Schedule] = (0.5, 0.9)
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        require_positive("learning_rate", self.learning_rate)
        require_betas(self.betas)
        require(self.epsilon > 0, "epsilon", self.epsilon, "a number > 0")

    def initial(self, vector: Tensor) -> dict[str, Tensor]:
        """Return zero moments and a zero previous move, (n,), and the number of calls, ()."""
        return {
            "count": torch.zeros((), dtype=torch.int64, device=vector.device),
            **{name: torch.zeros_like(vector) for name in ("mean", "square", "last")},
        }

    def __call__(
        self, vector: Tensor, direction: Tensor, memory: dict[str, Tensor], t: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return x − 2 a_t + a_{t−1}."""
        first, second = (value(beta, t, vector.dtype) for beta in self.betas)
        count = memory["count"] + 1
        mean = mixed(memory["mean"], direction, first)
        square = mixed(memory["square"], direction * direction, second)
        # float64, as in torch.optim: 1 − β₂ᵗ loses four digits in float32.
        correct_mean, correct_root = 1 - first ** count.double(), (1 - second ** count.double()).sqrt()
        step = (value(self.learning_rate, t, vector.dtype) / correct_mean).to(vector.dtype)
        move = step * mean / (square.sqrt() / correct_root.to(vector.dtype) + self.epsilon)
        last = torch.where(count == 1, move, memory["last"])
        return vector - 2 * move + last, {"count": count, "mean": mean, "square": square, "last": move}
