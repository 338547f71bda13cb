"""Scores after a sigmoid are treated as probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from detente.cures.base import Case, Change, Cure


class ProbabilitiesToLogits(Cure):
    """Treat the outputs of a discriminator that ends in a sigmoid as probabilities, with losses on log(p/(1 − p)).

    Otherwise a loss on logits sees scores between 0 and 1 only, a sigmoid twice.

    Source: Radford et al. 2016 end in a sigmoid under the cross-entropy of probabilities.
    """

    title: ClassVar[str] = "Treat the discriminator's outputs as probabilities"
    treats: ClassVar[Mapping[str, float]] = {
        "wiring": 0.8,
        "vanishing gradient": 0.6,
        "generator overpowers or discriminator dead": 0.5,
        "discriminator overpowers": 0.3,
        "collapse": 0.3,
        "penalty or Lipschitz bound wrong": 0.4,
    }
    certain: ClassVar[bool] = True

    def __call__(self, case: Case) -> Change | None:
        """Return the change, or None if it does not apply."""
        applies = case.adversarial and case.game.score_kind == "logits" and case.probabilities
        return Change({"scores": "probabilities"}) if applies else None
