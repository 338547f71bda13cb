"""The R1 penalty: the squared gradient norm of the scores at real samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from detente.autodiff import input_gradient
from detente.penalties.base import Penalty
from detente.schedules.base import Schedule, number, require_at_least_zero


@dataclass(frozen=True)
class R1(Penalty):
    """Mean squared gradient norm of the logits at real samples.

    (γ/2) E_real[‖∇_x s(x)‖₂²].

    The reference code omits the paper's factor ½: its `reg_param` of 10 corresponds to a strength of 20.

    Args:
        strength: γ, at least 0, or a schedule.

    Raises:
        InvalidValue: `strength` is negative or not finite.

    Source: Mescheder, Geiger and Nowozin 2018, section 4.1.
    """

    strength: float | Schedule = 10.0

    def __post_init__(self) -> None:
        require_at_least_zero(self, "strength")

    def __call__(self, score: Callable[[Tensor], Any], real: Tensor, fake: Tensor, noise: dict[str, Tensor]) -> Tensor:
        """Return (γ/2) E_real[‖∇s(x)‖²], (), for real samples (batch, …)."""
        return 0.5 * number("strength", self.strength) * input_gradient(score, real).flatten(1).square().sum(1).mean()
