"""A penalty on the gradient norm of the scores near real samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from detente.autodiff import input_gradient
from detente.errors import require
from detente.penalties.base import Penalty


@dataclass(frozen=True)
class DRAGAN(Penalty):
    """Squared distance between the gradient norm and a target, near real samples.

    λ E[(‖∇_x̂ s(x̂)‖₂ - target)²],  x̂ = x_real + δ, where `perturbation` determines δ:

    - "paper": δ = spread · η, η ~ N(0, I), the paper's N(0, cI) with c = spread²;
    - "code": δ = α · spread · std(x_real) · U, U ~ U[0, 1) for each element of a sample, α ~ U[0, 1) for each sample,
      as in the authors' published code;
    - "uniform": the same with α = 1, as in many later implementations.

    std is one number for the whole batch, with divisor n. U is not centred, so for "code" and "uniform" the
    neighbourhood lies above the sample in every coordinate.

    Args:
        strength: λ, at least 0.
        target: target of the gradient norm, at least 0.
        spread: size of the neighbourhood, at least 0: in standard deviations of the batch, or for "paper" in the
            samples' unit.
        perturbation: "uniform", "code" or "paper".

    Raises:
        InvalidValue: a field is negative or not finite, or the perturbation is unknown.

    Source: Kodali et al. 2017, section 2.4; "code": DRAGAN.ipynb of github.com/kodalinaveen3/DRAGAN.
    """

    strength: float = 10.0
    target: float = 1.0
    spread: float = 0.5
    perturbation: Literal["uniform", "code", "paper"] = "uniform"

    def __post_init__(self) -> None:
        for field in ("strength", "target", "spread"):
            value = getattr(self, field)
            require(math.isfinite(value) and value >= 0, field, value, "a finite number of at least 0")
        allowed = "uniform", "code", "paper"
        require(self.perturbation in allowed, "perturbation", self.perturbation, ", ".join(allowed))

    def draw(self, shape: torch.Size, generator: torch.Generator) -> dict[str, Tensor]:
        """Return `perturbation`, (batch, …): U, or η; for "code" also `mixing`, (batch,): α."""
        if self.perturbation == "paper":
            return {"perturbation": torch.randn(shape, generator=generator, device=generator.device)}
        noise = {"perturbation": torch.rand(shape, generator=generator, device=generator.device)}
        if self.perturbation == "code":
            noise["mixing"] = torch.rand(shape[0], generator=generator, device=generator.device)
        return noise

    def __call__(
        self, score: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, noise: dict[str, Tensor]
    ) -> Tensor:
        """Return λ E[(‖∇s(x̂)‖ - target)²], (), for real samples and the random numbers of `draw`."""
        width = self.spread if self.perturbation == "paper" else self.spread * real.std(correction=0)
        if self.perturbation == "code":
            width = width * noise["mixing"].to(real.dtype).reshape(-1, *(1,) * (real.dim() - 1))
        gradient = input_gradient(score, real + width * noise["perturbation"].to(real.dtype))
        return self.strength * (_norm(gradient) - self.target).square().mean()


def _norm(gradient: Tensor) -> Tensor:
    """Return the norm of each sample's gradient, (batch,), with derivative zero at a zero gradient."""
    squared = gradient.flatten(1).square().sum(1)
    positive = squared > 0
    # sqrt has derivative ∞ at 0, and ∞ · 0 would be NaN, so replace both its argument and its value there.
    return torch.where(positive, torch.where(positive, squared, 1.0).sqrt(), 0.0)
