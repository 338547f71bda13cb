"""Augmentation of real and generated images alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from detente.cures.base import Case, Change, Cure
from detente.filters.diff_augment import DiffAugment


class Augmentation(Cure):
    """Shift, recolour and cut out parts of real and generated images before the discriminator scores them.

    Images of one channel are not recoloured.

    Source: Zhao et al. 2020, DiffAugment (arXiv:2006.10738).
    """

    title: ClassVar[str] = "Augment real and generated images alike"
    treats: ClassVar[Mapping[str, float]] = {
        "too few data": 0.8,
        "discriminator overpowers": 0.35,
        "collapse": 0.2,
    }

    def __call__(self, case: Case) -> Change | None:
        """Return the change, or None if it does not apply."""
        if case.real.dim() != 4:
            return None
        return Change({"filter": DiffAugment(case.policy)})
