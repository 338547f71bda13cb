"""Langevin dynamics with momentum, a thermostat, and friction along the covariance of per-sample gradients."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from detente.errors import require
from detente.optimizers.base import Optimizer
from detente.schedules.base import Schedule, require_positive, value


@dataclass(frozen=True)
class CCADL(Optimizer):
    """Covariance-controlled adaptive Langevin: friction dissipates the noise of mini-batches.

    p ← p − h v − h (h/2T) Σ p − h ξ p + √(2 A T h) η,  x ← x + h p,  ξ ← ξ + h (pᵀp/n − T),  Σ = I_t/B

    with η ~ N(0, I). Σ is the covariance of the mean gradient of B samples; the field `covariance` estimates that of
    one sample, I_t. For small h the player's vectors are samples of the density ∝ exp(−L/T), even if the noise of the
    gradients is neither white nor constant. The paper has T = 1 and a sum over N samples, so that its Σ is N² I_t/B;
    for a mean over samples, T = 1/N. The method is stable only while h² Σ/2T + h ξ < 2 in every direction.

    The momentum starts at zero instead of a draw from N(0, T I), and x moves after p; this affects only the first
    steps.

    Args:
        learning_rate: h, > 0, or a schedule.
        friction: A > 0, the coefficient of the added noise and the initial value of the thermostat.
        temperature: T, > 0, or a schedule.
        samples: B, the number of samples in the game's batch, ≥ 1.

    Source: Shang, Zhu, Leimkuhler & Storkey 2015, Covariance-Controlled Adaptive Langevin Thermostat for Large-Scale
        Bayesian Sampling, algorithm 1.
    """

    needs_noise = True
    needs_covariance = True

    learning_rate: float | Schedule = 0.01
    friction: float = 1.0
    temperature: float | Schedule = 1e-4
    samples: int = 512

    def __post_init__(self) -> None:
        for name in ("learning_rate", "temperature"):
            require_positive(name, getattr(self, name))
        require_positive("friction", self.friction)
        require(self.samples >= 1, "samples", self.samples, "an integer ≥ 1")

    def initial(self, vector: Tensor) -> dict[str, Tensor]:
        """Return a zero momentum, (n,), and the thermostat ξ = A, ()."""
        return {"momentum": torch.zeros_like(vector), "thermostat": vector.new_full((), self.friction)}

    def __call__(
        self, vector: Tensor, direction: Tensor, memory: dict[str, Tensor], t: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the vector moved along the momentum."""
        assert noise is not None
        step, temperature = value(self.learning_rate, t, vector.dtype), value(self.temperature, t, vector.dtype)
        momentum, thermostat, covariance = memory["momentum"], memory["thermostat"], memory["covariance"]
        product = covariance * momentum if covariance.dim() == 1 else covariance @ momentum
        drag = step * thermostat * momentum + step**2 / (2 * temperature * self.samples) * product
        momentum = momentum - step * direction - drag + (2 * self.friction * temperature * step) ** 0.5 * noise
        thermostat = thermostat + step * (momentum.square().mean() - temperature)
        return vector + step * momentum, {"momentum": momentum, "thermostat": thermostat}
