"""Langevin dynamics with momentum and a thermostat that removes the noise of the gradient."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from detente.optimizers.base import Optimizer
from detente.schedules.base import Schedule, require_positive, value


@dataclass(frozen=True)
class SGNHT(Optimizer):
    """Stochastic gradient Nosé–Hoover thermostat: friction ξ grows while the momentum is hotter than T.

    p ← p − h v − h ξ p + √(2 A T h) η,  x ← x + h p,  ξ ← ξ + h (pᵀp/n − T),  with η ~ N(0, I)

    For small h the player's vectors are samples of the density ∝ exp(−L/T), even with noisy gradients, if their noise
    is white and constant. The paper has T = 1 and a sum over N samples; for a mean over samples, T = 1/N.

    The momentum starts at zero instead of a draw from N(0, T I); this affects only the first steps.

    Args:
        learning_rate: h, > 0, or a schedule.
        friction: A > 0, the coefficient of the added noise and the initial value of the thermostat.
        temperature: T, > 0, or a schedule.

    Source: Ding, Fang, Babbush, Chen, Skeel & Neven 2014, Bayesian Sampling Using Stochastic Gradient Thermostats,
        algorithm 2.
    """

    needs_noise = True

    learning_rate: float | Schedule = 0.01
    friction: float = 1.0
    temperature: float | Schedule = 1e-4

    def __post_init__(self) -> None:
        for name in ("learning_rate", "temperature"):
            require_positive(name, getattr(self, name))
        require_positive("friction", self.friction)

    def initial(self, vector: Tensor) -> dict[str, Tensor]:
        """Return a zero momentum, (n,), and the thermostat ξ = A, ()."""
        return {"momentum": torch.zeros_like(vector), "thermostat": vector.new_full((), self.friction)}

    def __call__(
        self, vector: Tensor, direction: Tensor, memory: dict[str, Tensor], t: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the vector moved along the momentum."""
        assert noise is not None
        step, temperature = value(self.learning_rate, t, vector.dtype), value(self.temperature, t, vector.dtype)
        momentum, thermostat = memory["momentum"], memory["thermostat"]
        kick = (2 * self.friction * temperature * step) ** 0.5 * noise
        momentum = momentum - step * direction - step * thermostat * momentum + kick
        thermostat = thermostat + step * (momentum.square().mean() - temperature)
        return vector + step * momentum, {"momentum": momentum, "thermostat": thermostat}
