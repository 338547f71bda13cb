"""Slow weights that the fast ones return to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from detente.cures.base import Case, Change, Cure


class LookaheadSteps(Cure):
    """Pull both players half-way back to slow weights every five steps.

    Source: Chavdarova et al. 2021, Lookahead-Minmax (arXiv:2006.14567), Algorithm 1.
    """

    title: ClassVar[str] = "Lookahead"
    treats: ClassVar[Mapping[str, float]] = {
        "oscillation or limit cycle": 0.5,
        "collapse": 0.2,
    }

    def __call__(self, case: Case) -> Change | None:
        """Return the change, or None if it does not apply."""
        return Change(case.in_order, "lookahead", {"learning_rate": case.balanced, "betas": (0.0, 0.9)})
