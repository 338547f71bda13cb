"""A weight that is zero at first: the adversarial term starts when the reconstruction is already good."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from detente.errors import require
from detente.schedules.base import Schedule


@dataclass(frozen=True)
class DelayedStart(Schedule):
    """Zero before step `start`, then linear up to `weight` over `ramp` steps, then constant.

    w(t) = weight · min(max(t - start, 0)/ramp, 1);  without a ramp, 0 for t < start and `weight` from `start` on.

    VQGAN multiplies the generator's adversarial term *and* the discriminator's loss by this weight, so both start
    together. If the discriminator starts earlier, it is ahead when the generator first meets it.

    Args:
        start: the first step with the term (with a ramp: the last one without), at least 0; 250 001 in VQGAN's
            configuration for ImageNet.
        ramp: number of steps of the linear part, at least 0; 0 for a jump, as in VQGAN.
        weight: the final weight, finite and at least 0.

    Raises:
        InvalidValue: a value is out of range.

    Source: Esser, Rombach and Ommer 2021, VQGAN (arXiv:2012.09841), code (CompVis/taming-transformers, `adopt_weight`),
        without the ramp.
    """

    precise = True

    start: int
    ramp: int = 0
    weight: float = 1.0

    def __post_init__(self) -> None:
        require(self.start >= 0, "start", self.start, "an integer ≥ 0")
        require(self.ramp >= 0, "ramp", self.ramp, "an integer ≥ 0")
        require(math.isfinite(self.weight) and self.weight >= 0, "weight", self.weight, "a finite number ≥ 0")

    def __call__(self, t: Tensor) -> Tensor:
        """Return w(t), ()."""
        since = t - self.start
        dtype = t.dtype if t.is_floating_point() else torch.get_default_dtype()
        fraction = (since / self.ramp).clamp(0, 1) if self.ramp else (since >= 0).to(dtype)
        return self.weight * fraction
