"""Plain gradient steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from detente.autodiff.tracing import is_eager
from detente.optimizers.base import Optimizer, decayed
from detente.schedules.base import Schedule, require_at_least_zero, require_positive, value


@dataclass(frozen=True)
class SGD(Optimizer):
    """Plain gradient descent: x ← x − η (v + λ x).

    Args:
        learning_rate: η, > 0, or a schedule.
        weight_decay: λ, ≥ 0, or a schedule.

    Source: Robbins & Monro 1951; `torch.optim.SGD` without momentum.
    """

    elementwise: ClassVar[bool] = True

    learning_rate: float | Schedule = 0.01
    weight_decay: float | Schedule = 0.0

    def __post_init__(self) -> None:
        require_positive("learning_rate", self.learning_rate)
        require_at_least_zero(self, "weight_decay")

    def initial(self, vector: Tensor) -> dict[str, Tensor]:
        """Return an empty memory."""
        del vector
        return {}

    def __call__(
        self, vector: Tensor, direction: Tensor, memory: dict[str, Tensor], t: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return x − η (v + λ x)."""
        direction = decayed(self.weight_decay, vector, direction, t)
        return vector - value(self.learning_rate, t, vector.dtype) * direction, memory

    def step_in_place(
        self, vector: Tensor, direction: Tensor, memory: dict[str, Tensor], t: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the same as a call, but overwrite `vector`."""
        if not is_eager(vector, direction):
            return self(vector, direction, memory, t)
        direction = decayed(self.weight_decay, vector, direction, t)
        return vector.sub_(value(self.learning_rate, t, vector.dtype) * direction), memory
