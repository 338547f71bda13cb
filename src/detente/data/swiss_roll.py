"""The swiss roll projected onto a plane, a spiral without separate modes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from detente.data.base import Data
from detente.errors import require


@dataclass(frozen=True)
class SwissRoll(Data):
    """The spiral of the WGAN-GP toy experiment: coordinates 0 and 2 of scikit-learn's swiss roll, scaled.

    t = 3π/2 * (1 + 2u), u ~ U[0, 1); x = scale * ((t cos t, t sin t) + noise * N(0, I))

    Args:
        noise: standard deviation of the noise before scaling, at least 0.
        scale: factor applied to every point, above 0.

    Source: Gulrajani et al. (2017), toy experiments; scikit-learn, `make_swiss_roll`.
    """

    noise: float = 0.25
    scale: float = 1 / 7.5

    def __post_init__(self) -> None:
        require(math.isfinite(self.noise) and self.noise >= 0, "noise", self.noise, "a finite number, at least 0")
        require(math.isfinite(self.scale) and self.scale > 0, "scale", self.scale, "a finite number above 0")

    @property
    def shape(self) -> tuple[int, ...]:
        return (2,)

    def draw(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        turn = 1.5 * math.pi * (1 + 2 * torch.rand(count, generator=generator, device=generator.device))
        spiral = torch.stack([turn * turn.cos(), turn * turn.sin()], dim=1)
        noise = torch.randn(spiral.shape, generator=generator, device=generator.device)
        return {"real": self.scale * (spiral + self.noise * noise)}
