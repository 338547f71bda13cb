"""Clipped gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from detente.cures.base import Case, Change, Cure


class GradientClipping(Cure):
    """Bound the norm of each player's gradient by 1, with suitable rates.

    Source: Pascanu, Mikolov & Bengio 2013 (arXiv:1211.5063), Algorithm 1.
    """

    title: ClassVar[str] = "Clip the gradients"
    treats: ClassVar[Mapping[str, float]] = {
        "blow-up": 0.5,
        "unbounded critic": 0.2,
    }

    def __call__(self, case: Case) -> Change | None:
        """Return the change, or None if it does not apply."""
        settings = {"learning_rate": case.balanced, "betas": (0.5, 0.999), "clip": 1.0}
        return Change(case.in_order, "alternating", settings)
