"""A discriminator that learns four times as fast."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from detente.cures.base import Case, Change, Cure


class TwoTimeScales(Cure):
    """Give the discriminator four times the generator's rate, with β₁ = 0.

    Source: Heusel et al. 2017 (arXiv:1706.08500); Zhang et al. 2019, SAGAN (arXiv:1805.08318), for 1 : 4.
    """

    title: ClassVar[str] = "A discriminator that learns four times as fast"
    treats: ClassVar[Mapping[str, float]] = {
        "generator overpowers or discriminator dead": 0.55,
        "oscillation or limit cycle": 0.35,
        "collapse": 0.3,
    }

    def __call__(self, case: Case) -> Change | None:
        """Return the change, or None if it does not apply."""
        rates = case.rates(case.balanced / 2, 2 * case.balanced)
        return Change(case.in_order, "averaged", case.averaged(rates, (0.0, 0.9)))
