"""The slope of the scores in the neighbourhood of real samples, drawn to a target."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from detente.derivatives import input_gradient
from detente.errors import require
from detente.penalties.base import Penalty


@dataclass(frozen=True)
class DRAGAN(Penalty):
    """Squared distance of the gradient norm to a target, near real samples.

    λ E[(‖∇_x̂ s(x̂)‖₂ - target)²],  x̂ = x_real + spread · std(x_real) · U,  U ~ U[0, 1) for each number of a sample.

    std is one number for the whole batch, with divisor n. As in the reference code, U is not centred, so the
    neighbourhood lies above the sample in every coordinate.

    Args:
        strength: λ, at least 0.
        target: the norm that costs nothing, at least 0.
        spread: size of the neighbourhood in standard deviations of the batch, at least 0.

    Raises:
        InvalidValue: a field is negative or not finite.

    Source: Kodali et al. 2017, section 2.4, and reference code for the perturbation.
    """

    strength: float = 10.0
    target: float = 1.0
    spread: float = 0.5

    def __post_init__(self) -> None:
        for field in ("strength", "target", "spread"):
            value = getattr(self, field)
            require(math.isfinite(value) and value >= 0, field, value, "a finite number of at least 0")

    def draw(self, shape: torch.Size, generator: torch.Generator) -> dict[str, Tensor]:
        """Return `{"perturbation": (batch, …)}`, uniform on [0, 1)."""
        return {"perturbation": torch.rand(shape, generator=generator, device=generator.device)}

    def __call__(
        self, score: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, noise: dict[str, Tensor]
    ) -> Tensor:
        """Return λ E[(‖∇s(x̂)‖ - target)²], (), on real samples and `perturbation`, each (batch, …)."""
        width = self.spread * real.std(correction=0)
        gradient = input_gradient(score, real + width * noise["perturbation"].to(real.dtype))
        return self.strength * (_norm(gradient) - self.target).square().mean()


def _norm(gradient: Tensor) -> Tensor:
    """Return the norm of each sample's gradient, (batch,), whose own derivative at a zero gradient is zero."""
    squared = gradient.flatten(1).square().sum(1)
    positive = squared > 0
    # sqrt has slope ∞ at 0, and ∞ · 0 would be NaN: its argument is replaced there before, its value after.
    return torch.where(positive, torch.where(positive, squared, 1.0).sqrt(), 0.0)
