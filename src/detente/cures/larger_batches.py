"""Batches of more samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from detente.cures.base import Case, Change, Cure

FEWEST, USUAL = 8, 32  # samples in a batch: with fewer, gradients are mostly noise


class LargerBatches(Cure):
    """Use batches of 32 samples instead of fewer than 8.

    Source: Brock, Donahue & Simonyan 2019, BigGAN (arXiv:1809.11096), section 3.1: larger batches are better.
    """

    title: ClassVar[str] = "Batches of 32 samples"
    treats: ClassVar[Mapping[str, float]] = {
        "sampling": 0.6,
        "normalisation": 0.5,
        "collapse": 0.4,
        "oscillation or limit cycle": 0.4,
        "blow-up": 0.3,
        "discriminator overpowers": 0.2,
        "generator overpowers or discriminator dead": 0.2,
    }
    certain: ClassVar[bool] = True

    def __call__(self, case: Case) -> Change | None:
        """Return the change, or None if it does not apply."""
        if not case.adversarial or case.game.batch >= FEWEST or len(case.real) < 2 * USUAL:
            return None
        return Change({"batch": USUAL})
