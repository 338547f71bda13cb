"""Whether the penalty on the discriminator's slope fits the scale of the data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from detente.checks.base import Check, Finding, Setup
from detente.games.adversarial import Adversarial
from detente.modules.rescaled import units_of


@dataclass(frozen=True)
class PenaltyStrength(Check):
    """A gradient penalty whose strength is far beyond what the data's size σ, √(total variance), suggests.

    Along the data, a discriminator of slope s gains about σs. A penalty λ(s − 1)² then allows s = 1 + σ/(2λ): with λ
    far below σ it bounds nothing; far above, its own noise is all that the discriminator learns from. A penalty
    (γ/2) s² allows s = σ/(2γ), so that scores differ by σ²/(2γ) across the data; far below 1, they separate nothing.

    Args:
        weak: smallest accepted λ/σ.
        strong: largest accepted λ/σ.
        flat: smallest accepted σ²/γ.

    Source: Gulrajani et al. 2017 (arXiv:1704.00028), section 4, and Mescheder et al. 2018 (arXiv:1801.04406), section
        4.1, for the losses; their settings have λ/σ of 0.2 to 10 and σ²/γ of 0.1 to 1000.
    """

    weak: float = 0.003
    strong: float = 300.0
    flat: float = 0.01

    def __call__(self, setup: Setup) -> Sequence[Finding]:
        """Return at most one finding."""
        if units_of(setup.module(setup.discriminator)) is not None or not setup.penalised:
            return []
        size = float(setup.real.double().flatten(1).var(0).sum().sqrt())
        strength, target = self._strength(setup)
        if not (size > 0 and strength > 0 and math.isfinite(size * strength)):
            return []
        if target == 0 and size**2 / (2 * strength) < self.flat:
            evidence = (
                f"The penalty's strength is {2 * strength:.3g} for data of size {size:.3g} (√ of their variance): the "
                f"discriminator's scores can differ by about {size**2 / (4 * strength):.1g} across the data."
            )
            return [self._finding(evidence, f"about {0.3 * size:.1g}")]
        if target > 0 and not self.weak <= strength / size <= self.strong:
            word = "bounds no slope" if strength < size else "outweighs the loss"
            evidence = (
                f"The penalty's strength, {strength:.3g}, {word} for data of size {size:.3g} (√ of their variance)."
            )
            return [self._finding(evidence, f"about {max(1.0, size):.1g}")]
        return []

    def _finding(self, evidence: str, usual: str) -> Finding:
        return Finding("penalty or Lipschitz bound wrong", evidence, 0.7, f"Use a strength of {usual}.")

    def _strength(self, setup: Setup) -> tuple[float, float]:
        """Return λ and the target of a penalty λ(s − target)² on slopes s, from the loss at some slopes."""
        if isinstance(setup.game, Adversarial):
            return self._of_penalties(setup.game.penalties)
        at_zero, at_one, at_two = (setup.loss_at_slope(slope) for slope in (0.0, 1.0, 2.0))
        strength = (at_two + at_zero - 2 * at_one) / 2
        return strength, max(0.0, 1 - (at_two - at_zero) / (4 * strength)) if strength > 0 else 0.0

    def _of_penalties(self, penalties: Sequence[Any]) -> tuple[float, float]:
        """Return the same for penalties of the library; 0 for others."""
        for penalty in penalties:
            inner = getattr(penalty, "penalty", penalty)
            strength, target = getattr(inner, "strength", None), getattr(inner, "target", 0.0)
            if inner.differentiates and isinstance(strength, int | float) and isinstance(target, int | float):
                return (float(strength), float(target)) if target else (float(strength) / 2, 0.0)
        return 0.0, 0.0
