"""A discriminator that pauses while it is ahead."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

from detente.cures.base import Case, Change, Cure
from detente.objectives.non_saturating import NonSaturating


class AdaptiveDiscriminatorTurns(Cure):
    """Move the discriminator only while its loss is at least half of an undecided discriminator's.

    The threshold is known for the non-saturating and the relativistic losses.

    Source: Wu et al. 2016, 3D-GAN (arXiv:1610.07584), section 3.2.
    """

    title: ClassVar[str] = "Pause the discriminator while it is ahead"
    treats: ClassVar[Mapping[str, float]] = {
        "discriminator overpowers": 0.4,
        "vanishing gradient": 0.2,
    }

    def __call__(self, case: Case) -> Change | None:
        """Return the change, or None if it does not apply."""
        if not (case.adversarial and isinstance(case.game.objective, NonSaturating)):
            return None
        settings = {"learning_rate": case.balanced, "betas": (0.5, 0.999), "threshold": round(math.log(2.0), 2)}
        return Change({}, "adaptive_turns", settings)
