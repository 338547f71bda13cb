"""Gradient steps with white noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from detente.optimizers.base import Optimizer
from detente.schedules.base import Schedule, require_positive, value


@dataclass(frozen=True)
class SGLD(Optimizer):
    """Stochastic gradient Langevin dynamics: x ← x − ε v + √(2 ε T) η, with η ~ N(0, I).

    For small ε the player's vectors are samples of the density ∝ exp(−L/T), if the noise of the mini-batches is small
    compared with √(2 ε T). A loss that is a mean over N samples is the posterior's −log density divided by N, so that
    posterior requires T = 1/N.

    Args:
        learning_rate: ε, > 0, or a schedule (the paper's decreases to zero).
        temperature: T, > 0, or a schedule.

    Source: Welling & Teh 2011, Bayesian Learning via Stochastic Gradient Langevin Dynamics, eq. 4.
    """

    elementwise: ClassVar[bool] = True
    needs_noise = True

    learning_rate: float | Schedule = 0.01
    temperature: float | Schedule = 1e-4

    def __post_init__(self) -> None:
        require_positive("learning_rate", self.learning_rate)
        require_positive("temperature", self.temperature)

    def initial(self, vector: Tensor) -> dict[str, Tensor]:
        """Return an empty memory."""
        del vector
        return {}

    def __call__(
        self, vector: Tensor, direction: Tensor, memory: dict[str, Tensor], t: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return x − ε v + √(2 ε T) η."""
        assert noise is not None
        rate, temperature = value(self.learning_rate, t, vector.dtype), value(self.temperature, t, vector.dtype)
        return vector - rate * direction + (2 * rate * temperature) ** 0.5 * noise, memory
