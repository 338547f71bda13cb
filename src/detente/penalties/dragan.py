"""A penalty on the gradient norm of the scores near real samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from detente.autodiff import input_gradient
from detente.errors import require
from detente.penalties.base import Penalty, gradient_norm
from detente.ranks import batch_deviation
from detente.schedules.base import Schedule, number, require_at_least_zero


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
        strength: λ, at least 0, or a schedule.
        target: target of the gradient norm, at least 0, or a schedule.
        spread: size of the neighbourhood, at least 0, or a schedule: in standard deviations of the batch, or for
            "paper" in the samples' unit.
        perturbation: "uniform", "code" or "paper".

    Raises:
        InvalidValue: a field is negative or not finite, or the perturbation is unknown.

    Source: Kodali et al. 2017, section 2.4; "code": DRAGAN.ipynb of github.com/kodalinaveen3/DRAGAN.
    """

    strength: float | Schedule = 10.0
    target: float | Schedule = 1.0
    spread: float | Schedule = 0.5
    perturbation: Literal["uniform", "code", "paper"] = "uniform"

    def __post_init__(self) -> None:
        require_at_least_zero(self, "strength", "target", "spread")
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

    def __call__(self, score: Callable[[Tensor], Any], real: Tensor, fake: Tensor, noise: dict[str, Tensor]) -> Tensor:
        """Return λ E[(‖∇s(x̂)‖ - target)²], (), for real samples and the random numbers of `draw`."""
        spread = number("spread", self.spread)
        width = spread if self.perturbation == "paper" else spread * batch_deviation(real)
        if self.perturbation == "code":
            width = width * noise["mixing"].to(real.dtype).reshape(-1, *(1,) * (real.dim() - 1))
        gradient = input_gradient(score, real + width * noise["perturbation"].to(real.dtype))
        distance = gradient_norm(gradient) - number("target", self.target)
        return number("strength", self.strength) * distance.square().mean()
