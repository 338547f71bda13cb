"""Extragradient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from detente.cures.base import Case, Change, Cure


class ExtragradientSteps(Cure):
    """Take a trial step, and move along the gradient at the trial point, by Adam.

    Source: Gidel et al. 2019 (arXiv:1802.10551), Algorithm 4.
    """

    title: ClassVar[str] = "Extragradient"
    treats: ClassVar[Mapping[str, float]] = {
        "oscillation or limit cycle": 0.5,
        "collapse": 0.2,
    }

    def __call__(self, case: Case) -> Change | None:
        """Return the change, or None if it does not apply."""
        return Change(case.in_order, "extragradient", {"learning_rate": case.balanced, "betas": (0.5, 0.9)})
