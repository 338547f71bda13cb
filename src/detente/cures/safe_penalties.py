"""Penalties of the library in place of those that are at fault."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from detente.cures.base import SURE, Case, Change, Cure
from detente.penalties.r1 import R1
from detente.penalties.r2 import R2


class SafePenalties(Cure):
    """Replace the game's penalties, if they are found wrong, by R1 and R2 with a strength that fits the data.

    It removes a cause: a square root that is differentiated at 0, a norm over wrong axes, a strength for another scale.

    Source: Mescheder, Geiger & Nowozin 2018 (arXiv:1801.04406), section 4.1, for penalties without a square root.
    """

    title: ClassVar[str] = "R1 and R2 in place of the penalties"
    treats: ClassVar[Mapping[str, float]] = {"penalty or Lipschitz bound wrong": 0.7, "blow-up": 0.2}
    certain: ClassVar[bool] = True

    def __call__(self, case: Case) -> Change | None:
        """Return the change, or None if it does not apply."""
        wrong = case.adversarial and case.game.penalties and case.sure("penalty or Lipschitz bound wrong") >= SURE
        strength = case.penalty_strength
        return Change({"penalties": case.lazily(R1(strength), R2(strength))}) if wrong else None
