"""A penalty on the gradient norm of the scores between real and fake samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from detente.autodiff import input_gradient
from detente.errors import require
from detente.penalties.base import Penalty


@dataclass(frozen=True)
class GradientPenalty(Penalty):
    """WGAN-GP: squared distance between the gradient norm and a target, on lines from real to fake samples.

    λ E[(‖∇_x̂ s(x̂)‖₂ - target)²],  x̂ = ε x_real + (1 - ε) x_fake,  ε ~ U(0, 1), one ε per sample.

    The norm is over all dimensions of a sample. With BatchNorm in the discriminator, the score of a sample depends on
    the whole batch, so the penalty has a different meaning.

    Args:
        strength: λ, at least 0.
        target: target of the gradient norm, at least 0.

    Raises:
        InvalidValue: a field is negative or not finite; when called, real and fake batches differ in shape.

    Source: Gulrajani et al. 2017, algorithm 1.
    """

    strength: float = 10.0
    target: float = 1.0

    def __post_init__(self) -> None:
        for field in ("strength", "target"):
            value = getattr(self, field)
            require(math.isfinite(value) and value >= 0, field, value, "a finite number of at least 0")

    def draw(self, shape: torch.Size, generator: torch.Generator) -> dict[str, Tensor]:
        """Return `{"mixing": (batch,)}`, uniform on [0, 1)."""
        return {"mixing": torch.rand(shape[0], generator=generator, device=generator.device)}

    def __call__(
        self, score: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, noise: dict[str, Tensor]
    ) -> Tensor:
        """Return λ E[(‖∇s(x̂)‖ - target)²], (), for samples (batch, …) and `mixing` (batch,)."""
        require(
            real.shape == fake.shape, "fake", tuple(fake.shape), f"the shape of the real batch, {tuple(real.shape)}"
        )
        mixing = noise["mixing"].to(real.dtype).reshape(-1, *(1,) * (real.dim() - 1))
        gradient = input_gradient(score, mixing * real + (1 - mixing) * fake)
        return self.strength * (_norm(gradient) - self.target).square().mean()


def _norm(gradient: Tensor) -> Tensor:
    """Return the norm of each sample's gradient, (batch,), with derivative zero at a zero gradient."""
    squared = gradient.flatten(1).square().sum(1)
    positive = squared > 0
    # sqrt has derivative ∞ at 0, and ∞ · 0 would be NaN, so replace both its argument and its value there.
    return torch.where(positive, torch.where(positive, squared, 1.0).sqrt(), 0.0)
