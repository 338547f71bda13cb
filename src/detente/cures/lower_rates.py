"""Lower rates and less momentum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from detente.cures.base import Case, Change, Cure


class LowerRates(Cure):
    """Train both players by Adam with β₁ = 0.5 and a fifth of the suitable rate or of the largest present one.

    Source: Radford, Metz & Chintala 2016 (arXiv:1511.06434), section 4.
    """

    title: ClassVar[str] = "Lower learning rates, and β₁ = 0.5"
    treats: ClassVar[Mapping[str, float]] = {
        "blow-up": 0.6,
        "oscillation or limit cycle": 0.3,
        "generator overpowers or discriminator dead": 0.3,
        "collapse": 0.2,
        "discriminator overpowers": 0.2,
        "artefact": 0.2,
    }

    def __call__(self, case: Case) -> Change | None:
        """Return the change, or None if it does not apply."""
        largest_rate = max(case.own_rates.values(), default=case.balanced)
        rate = float(f"{min(case.balanced, largest_rate) / 5:.1g}")
        return Change(case.in_order, "averaged", case.averaged(rate, (0.5, 0.999)))
