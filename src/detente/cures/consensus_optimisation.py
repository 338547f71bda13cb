"""A pull towards stationary points."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from detente.cures.base import Case, Change, Cure


class ConsensusOptimisation(Cure):
    """Add the gradient of ½‖v‖² to all moves, which damps rotation.

    It applies without BatchNorm in the discriminator.

    Source: Mescheder, Nowozin & Geiger 2017, The Numerics of GANs (arXiv:1705.10461), Algorithm 2.
    """

    title: ClassVar[str] = "Consensus optimisation"
    treats: ClassVar[Mapping[str, float]] = {
        "oscillation or limit cycle": 0.6,
        "collapse": 0.35,
    }

    def __call__(self, case: Case) -> Change | None:
        """Return the change, or None if it does not apply."""
        if case.batch_norm or case.images:
            return None
        return Change(
            case.in_order, "consensus", {"learning_rate": float(f"{case.balanced / 4:.1g}"), "strength": 10.0}
        )
