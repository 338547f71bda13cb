"""The R1 and R2 penalties."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from detente.cures.base import Case, Change, Cure
from detente.penalties.r1 import R1
from detente.penalties.r2 import R2


class R1AndR2(Cure):
    """Add R1 and R2, penalties on the slope of the discriminator at real and at generated samples.

    They are three times as strong as in `StrongDefault`, for more damping of cycles.

    Source: Mescheder, Geiger & Nowozin 2018 (arXiv:1801.04406), section 4.1; Huang et al. 2024 (arXiv:2501.05441).
    """

    title: ClassVar[str] = "Add the R1 and R2 penalties"
    treats: ClassVar[Mapping[str, float]] = {
        "oscillation or limit cycle": 0.6,
        "collapse": 0.5,
        "discriminator overpowers": 0.5,
        "blow-up": 0.4,
        "unbounded critic": 0.55,
        "penalty or Lipschitz bound wrong": 0.5,
        "too few data": 0.35,
        "vanishing gradient": 0.3,
    }

    def __call__(self, case: Case) -> Change | None:
        """Return the change, or None if it does not apply."""
        strength = float(f"{3 * case.penalty_strength:.2g}")
        return Change({"penalties": case.lazily(R1(strength), R2(strength))})
