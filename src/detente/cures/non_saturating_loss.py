"""A loss of the generator with a gradient where the discriminator wins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from detente.cures.base import Case, Change, Cure
from detente.objectives.non_saturating import NonSaturating


class NonSaturatingLoss(Cure):
    """Use the non-saturating losses: the generator's gradient does not vanish where the discriminator is certain.

    Source: Goodfellow et al. 2014 (arXiv:1406.2661), section 3.
    """

    title: ClassVar[str] = "Use the non-saturating loss"
    treats: ClassVar[Mapping[str, float]] = {
        "vanishing gradient": 0.6,
        "discriminator overpowers": 0.5,
        "collapse": 0.25,
        "unbounded critic": 0.5,
        "blow-up": 0.2,
        "penalty or Lipschitz bound wrong": 0.3,
    }

    def __call__(self, case: Case) -> Change | None:
        """Return the change, or None if it does not apply."""
        applies = case.adversarial and type(case.game.objective) is not NonSaturating
        return Change({"objective": "non_saturating"}) if applies else None
