"""Gradient steps with noise that has the covariance of the samples' gradients."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from detente.errors import require
from detente.optimizers.base import Optimizer
from detente.schedule import Schedule, require_positive, value


@dataclass(frozen=True)
class Langevin(Optimizer):
    """Covariance-controlled Langevin dynamics: x ← x − ε v + √(2 ε T s) I_t^½ η, with η ~ N(0, I).

    I_t is what the field `covariance` keeps; of a full one, I_t^½ is its Cholesky factor. Taken literally (T = s = 1)
    the noise drowns the gradient of a mean loss: √(2 ε) times the deviation of one sample's gradient, against ε times
    their mean, is √(2/ε) to one. The log likelihood of N samples has N times this gradient, and then ε stands for ε N,
    which leaves a factor s = 1/N in front of the noise. With s = ε/(2 B) it has the size of what mini-batches of B
    samples make by themselves.

    Args:
        learning_rate: ε, > 0, or a schedule.
        temperature: T, > 0, or a schedule: how much of the noise is wanted; 1 is the source's.
        scale: s, > 0, or a schedule: the factor 1/N of a mean loss; 1 is the source's formula as it stands.
        jitter: white noise added to a full I_t before it is factored, as a share of its trace, ≥ 0, since V of B
            samples has no more than B − 1 directions.

    Source: NIPS 2017 submission on noisy discriminator gradients, eqs. 10 and 11 (T = s = 1); it is Welling & Teh 2011
        with another covariance, and not CCAdL, which takes noise of this covariance out again.
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
        """Return nothing: the covariance is the field's."""
        del vector
        return {}

    def __call__(
        self, vector: Tensor, direction: Tensor, memory: dict[str, Tensor], t: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return x − ε v + √(2 ε T s) I_t^½ η."""
        assert noise is not None
        rate = value(self.learning_rate, t, vector.dtype)
        size = 2 * rate * value(self.temperature, t, vector.dtype) * value(self.scale, t, vector.dtype)
        return vector - rate * direction + size**0.5 * self._coloured(memory["covariance"], noise), {}

    def _coloured(self, covariance: Tensor, noise: Tensor) -> Tensor:
        """Return I_t^½ η, (n,)."""
        if covariance.dim() == 1:
            return covariance.sqrt() * noise
        # In float64: the rounding of float32 makes a matrix without full rank indefinite.
        wide = covariance.double()
        added = self.jitter * wide.diagonal().sum() + torch.finfo(wide.dtype).tiny
        factor, _ = torch.linalg.cholesky_ex(wide + added * torch.eye(len(wide), dtype=wide.dtype, device=wide.device))
        return (factor @ noise.double()).to(noise.dtype)
