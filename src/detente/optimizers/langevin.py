"""Gradient steps with noise that has the covariance of the per-sample gradients."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from detente.errors import require
from detente.optimizers.base import Optimizer
from detente.schedules.base import Schedule, require_positive, value


@dataclass(frozen=True)
class Langevin(Optimizer):
    """Covariance-controlled Langevin dynamics: x ← x − ε v + √(2 ε T s) I_t^½ η, with η ~ N(0, I).

    I_t is the estimate of the field `covariance`; if it is a full matrix, I_t^½ is its Cholesky factor. Taken literally
    (T = s = 1), the noise dominates the gradient of a mean loss: √(2 ε) times the deviation of one sample's gradient,
    compared with ε times the mean gradient, is a ratio of √(2/ε). The log likelihood of N samples has N times this
    gradient, so ε stands for ε N, which leaves a factor s = 1/N in front of the noise. With s = ε/(2 B) the noise is as
    large as the noise of mini-batches of B samples.

    Args:
        learning_rate: ε, > 0, or a schedule.
        temperature: T, > 0, or a schedule: the strength of the noise; the source has 1.
        scale: s, > 0, or a schedule: 1/N for a mean loss; 1 gives the source's formula literally.
        jitter: multiple of the identity added to a full I_t before factorisation, relative to its trace, ≥ 0, since V
            of B samples has rank B − 1 at most.

    Source: NIPS 2017 submission on noisy discriminator gradients, eqs. 10 and 11 (T = s = 1). This is Welling & Teh
        2011 with another covariance. It is not CCAdL, which removes noise of this covariance.
    """

    needs_noise = True
    needs_covariance = True

    learning_rate: float | Schedule = 0.01
    temperature: float | Schedule = 1.0
    scale: float | Schedule = 1.0
    jitter: float = 1e-6

    def __post_init__(self) -> None:
        for name in ("learning_rate", "temperature", "scale"):
            require_positive(name, getattr(self, name))
        require(math.isfinite(self.jitter) and self.jitter >= 0, "jitter", self.jitter, "a finite number ≥ 0")

    def initial(self, vector: Tensor) -> dict[str, Tensor]:
        """Return an empty memory; the covariance is in the field's memory."""
        del vector
        return {}

    def __call__(
        self, vector: Tensor, direction: Tensor, memory: dict[str, Tensor], t: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return x − ε v + √(2 ε T s) I_t^½ η."""
        assert noise is not None
        rate = value(self.learning_rate, t, vector.dtype)
        size = 2 * rate * value(self.temperature, t, vector.dtype) * value(self.scale, t, vector.dtype)
        return vector - rate * direction + size**0.5 * self._coloured_noise(memory["covariance"], noise), {}

    def _coloured_noise(self, covariance: Tensor, noise: Tensor) -> Tensor:
        """Return I_t^½ η, (n,)."""
        if covariance.dim() == 1:
            return covariance.sqrt() * noise
        # float64, since rounding in float32 makes a rank-deficient matrix indefinite.
        wide = covariance.double()
        jitter = self.jitter * wide.diagonal().sum() + torch.finfo(wide.dtype).tiny
        factor, _ = torch.linalg.cholesky_ex(wide + jitter * torch.eye(len(wide), dtype=wide.dtype, device=wide.device))
        return (factor @ noise.double()).to(noise.dtype)
