"""Noise on all inputs of the discriminator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from detente.cures.base import Case, Change, Cure
from detente.schedules.linear import Linear


class InputNoise(Cure):
    """Add Gaussian noise to all inputs of the discriminator, so that densities overlap.

    Its standard deviation falls from 0.3 to 0 of the data's in the first four fifths of the run; with your own losses
    it is 0.1 throughout.

    Source: Sønderby et al. 2017 (arXiv:1610.04490), section 3.2; Arjovsky & Bottou 2017 (arXiv:1701.04862), section 3.
    """

    title: ClassVar[str] = "Noise on all inputs of the discriminator"
    treats: ClassVar[Mapping[str, float]] = {
        "discriminator overpowers": 0.5,
        "vanishing gradient": 0.4,
        "collapse": 0.35,
        "oscillation or limit cycle": 0.35,
        "too few data": 0.35,
    }

    def __call__(self, case: Case) -> Change | None:
        """Return the change, or None if it does not apply."""
        fades = case.adversarial and case.game.filter is None and case.has_similar_columns
        return Change({"input_noise": Linear(0.3, 0.0, max(1, round(0.8 * case.steps))) if fades else 0.1})
