"""One suitable rate for both players."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from detente.cures.base import Case, Change, Cure


class BalancedRates(Cure):
    """Train both players alternately by Adam with β₁ = 0.5 and one rate that suits the networks' widths.

    Samples come from an average of the generator.

    Source: Radford, Metz & Chintala 2016 (arXiv:1511.06434) for β₁ and 2e-4; Yang & Hu 2021 for rates like 1/width.
    """

    title: ClassVar[str] = "One suitable learning rate, averaged generator"
    treats: ClassVar[Mapping[str, float]] = {
        "discriminator overpowers": 0.55,
        "generator overpowers or discriminator dead": 0.65,
        "blow-up": 0.5,
        "collapse": 0.35,
        "oscillation or limit cycle": 0.25,
        "vanishing gradient": 0.35,
    }

    def __call__(self, case: Case) -> Change | None:
        """Return the change, or None if it does not apply."""
        return Change(case.in_order, "averaged", case.averaged(case.balanced, (0.5, 0.999)))
