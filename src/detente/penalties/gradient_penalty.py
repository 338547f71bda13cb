"""A penalty on the gradient norm of the scores between real and fake samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from detente.autodiff import input_gradient
from detente.errors import require
from detente.penalties.base import Penalty, gradient_norm
from detente.schedules.base import Schedule, number, require_at_least_zero


@dataclass(frozen=True)
class GradientPenalty(Penalty):
    """WGAN-GP: squared distance between the gradient norm and a target, on lines from real to fake samples.

    λ E[(‖∇_x̂ s(x̂)‖₂ - target)²],  x̂ = ε x_real + (1 - ε) x_fake,  ε ~ U(0, 1), one ε per sample.

    The norm is over all dimensions of a sample. With BatchNorm in the discriminator, the score of a sample depends on
    the whole batch, so the penalty has a different meaning.

    Args:
        strength: λ, at least 0, or a schedule.
        target: target of the gradient norm, at least 0, or a schedule.

    Raises:
        InvalidValue: a field is negative or not finite; when called, real and fake batches differ in shape.

    Source: Gulrajani et al. 2017, algorithm 1.
    """

    strength: float | Schedule = 10.0
    target: float | Schedule = 1.0

    def __post_init__(self) -> None:
        require_at_least_zero(self, "strength", "target")

    def draw(self, shape: torch.Size, generator: torch.Generator) -> dict[str, Tensor]:
        """Return `{"mixing": (batch,)}`, uniform on [0, 1)."""
        return {"mixing": torch.rand(shape[0], generator=generator, device=generator.device)}

    def __call__(self, score: Callable[[Tensor], Any], real: Tensor, fake: Tensor, noise: dict[str, Tensor]) -> Tensor:
        """Return λ E[(‖∇s(x̂)‖ - target)²], (), for samples (batch, …) and `mixing` (batch,)."""
        require(
            real.shape == fake.shape, "fake", tuple(fake.shape), f"the shape of the real batch, {tuple(real.shape)}"
        )
        mixing = noise["mixing"].to(real.dtype).reshape(-1, *(1,) * (real.dim() - 1))
        gradient = input_gradient(score, mixing * real + (1 - mixing) * fake)
        distance = gradient_norm(gradient) - number("target", self.target)
        return number("strength", self.strength) * distance.square().mean()
