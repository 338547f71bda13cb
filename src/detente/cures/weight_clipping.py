"""Clipped weights of a Wasserstein critic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from detente.cures.base import Case, Change, Cure
from detente.objectives.wasserstein import Wasserstein


class WeightClipping(Cure):
    """Clip the critic's weights to ±0.05, under the Wasserstein loss.

    The paper's ±0.01 was chosen for a deep DCGAN; a bound c on the weights of L layers of n units bounds the slope by
    about (cn)ᴸ, which would be far below 1 in small networks.

    Source: Arjovsky, Chintala & Bottou 2017 (arXiv:1701.07875), Algorithm 1.
    """

    title: ClassVar[str] = "Clip the critic's weights"
    treats: ClassVar[Mapping[str, float]] = {
        "unbounded critic": 0.4,
    }

    def __call__(self, case: Case) -> Change | None:
        """Return the change, or None if it does not apply."""
        wasserstein = case.own_losses or isinstance(getattr(case.game, "objective", None), Wasserstein)
        if not wasserstein or len(case.game.players) != 2:
            return None
        return Change(case.in_order, "wasserstein_clipping", {"bound": 0.05, "learning_rate": case.balanced / 4})
