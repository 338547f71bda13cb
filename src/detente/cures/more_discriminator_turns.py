"""More turns for the discriminator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from detente.cures.base import Case, Change, Cure


class MoreDiscriminatorTurns(Cure):
    """Let the discriminator move three times for each move of the generator.

    Source: Goodfellow et al. 2014, Algorithm 1 (k turns); Arjovsky et al. 2017 take 5.
    """

    title: ClassVar[str] = "Three discriminator turns per generator turn"
    treats: ClassVar[Mapping[str, float]] = {
        "generator overpowers or discriminator dead": 0.55,
        "collapse": 0.3,
        "unbounded critic": 0.15,
        "penalty or Lipschitz bound wrong": 0.2,
    }

    def __call__(self, case: Case) -> Change | None:
        """Return the change, or None if it does not apply."""
        settings = {"learning_rate": case.balanced, "betas": (0.5, 0.999), "discriminator_turns": 3}
        return Change(case.in_order, "alternating", settings)
