"""The R1 penalty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from detente.cures.base import Case, Change, Cure
from detente.penalties.r1 import R1


class R1Penalty(Cure):
    """Add R1, a penalty on the slope of the discriminator at real samples, with a strength that fits the data's scale.

    Source: Mescheder, Geiger & Nowozin 2018 (arXiv:1801.04406), section 4.1.
    """

    title: ClassVar[str] = "Add the R1 penalty"
    treats: ClassVar[Mapping[str, float]] = {
        "oscillation or limit cycle": 0.6,
        "collapse": 0.45,
        "discriminator overpowers": 0.45,
        "blow-up": 0.35,
        "unbounded critic": 0.5,
        "penalty or Lipschitz bound wrong": 0.5,
        "too few data": 0.4,
        "vanishing gradient": 0.25,
    }

    def __call__(self, case: Case) -> Change | None:
        """Return the change, or None if it does not apply."""
        return Change({"penalties": case.lazily(R1(case.penalty_strength))})
