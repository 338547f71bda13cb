"""R1 from two scores instead of a gradient: the squared slope in a random direction."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from detente.errors import require
from detente.penalties.base import Penalty, score_per_sample
from detente.schedules.base import Schedule, number, require_at_least_zero


@dataclass(frozen=True)
class FiniteDifferenceR1(Penalty):
    """R1 by a difference of scores: no gradient with respect to samples, and no second derivatives.

    (γ/2) E_real[((s(x + σ η) - s(x))/σ)²],  η ~ N(0, I).

    For small σ, the mean over η is (γ/2) E_real[‖∇_x s(x)‖²], which is `R1`; one η per sample makes it noisier. It
    works with operations that can be differentiated only once. The paper's term is λ (s(x + σ η) - s(x))², that is
    γ = 2 λ σ²: its λ = 100 and σ = 0.01 for images are γ = 0.02, and σ = 0.1 for videos is γ = 2.

    The difference of two nearby scores loses digits: in bfloat16, σ must be large.

    Args:
        strength: γ, at least 0, or a schedule.
        spread: σ, > 0, in the samples' unit, or a schedule.

    Raises:
        InvalidValue: `strength` is negative, `spread` is not positive, or one of them is not finite.

    Source: Lin et al. 2025, Diffusion Adversarial Post-Training for One-Step Video Generation (arXiv:2501.08316),
        approximated R1 regularization.
    """

    strength: float | Schedule = 10.0
    spread: float | Schedule = 0.01

    def __post_init__(self) -> None:
        require_at_least_zero(self, "strength")
        accepted = isinstance(self.spread, Schedule) or (math.isfinite(self.spread) and self.spread > 0)
        require(accepted, "spread", self.spread, "a finite number > 0, or a schedule")

    @property
    def differentiates(self) -> bool:
        """False: the penalty only reads scores."""
        return False

    def draw(self, shape: torch.Size, generator: torch.Generator) -> dict[str, Tensor]:
        """Return `{"direction": (batch, …)}`, standard normal: η."""
        return {"direction": torch.randn(shape, generator=generator, device=generator.device)}

    def __call__(self, score: Callable[[Tensor], Any], real: Tensor, fake: Tensor, noise: dict[str, Tensor]) -> Tensor:
        """Return (γ/2) E_real[((s(x + σ η) - s(x))/σ)²], (), for real samples (batch, …)."""
        spread = number("spread", self.spread)
        neighbours = score_per_sample(score(real + spread * noise["direction"].to(real.dtype)))
        slope = (neighbours - score_per_sample(score(real))) / spread
        return 0.5 * number("strength", self.strength) * slope.square().mean()
