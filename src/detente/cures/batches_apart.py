"""The library's losses in place of the user's, on separate batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from detente.cures.base import SEPARATE, Case, Change, Cure


class BatchesApart(Cure):
    """Replace your own losses by the non-saturating ones, with real and generated samples in separate batches.

    It removes mistakes in the losses: a mixed batch through BatchNorm, a wrong sign, a clipped logarithm, a NaN of a
    penalty's own.

    Source: Radford et al. 2016 (arXiv:1511.06434); ganhacks, trick 4 (batches of only real or only generated samples).
    """

    title: ClassVar[str] = "Non-saturating losses of détente, on separate batches"
    treats: ClassVar[Mapping[str, float]] = {
        "wiring": 0.75,
        "normalisation": 0.7,
        "blow-up": 0.45,
        "vanishing gradient": 0.45,
        "penalty or Lipschitz bound wrong": 0.5,
        "generator overpowers or discriminator dead": 0.4,
        "unbounded critic": 0.5,
        "discriminator overpowers": 0.3,
        "collapse": 0.25,
        "sampling": 0.5,
    }

    def is_certain(self, case: Case) -> bool:
        """Return whether the losses are surely at fault."""
        return case.own_losses and max(case.sure("wiring"), case.sure("normalisation")) >= SEPARATE

    def __call__(self, case: Case) -> Change | None:
        """Return the change, or None if it does not apply."""
        return Change({"separate": True}) if case.own_losses else None
