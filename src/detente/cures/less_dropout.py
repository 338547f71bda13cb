"""Less dropout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from detente.cures.base import Case, Change, Cure
from detente.modules.replaced_activations import MOST_DROPOUT, largest_dropout


class LessDropout(Cure):
    """Reduce dropout above 0.5 to 0.25. This affects training only; no weights change.

    Source: Isola et al. 2017, pix2pix (arXiv:1611.07004), whose dropout of a half is the most that is usual.
    """

    title: ClassVar[str] = "Less dropout"
    treats: ClassVar[Mapping[str, float]] = {
        "generator overpowers or discriminator dead": 0.7,
        "sampling": 0.7,
        "collapse": 0.4,
        "oscillation or limit cycle": 0.3,
        "normalisation": 0.3,
    }
    certain: ClassVar[bool] = True

    def __call__(self, case: Case) -> Change | None:
        """Return the change, or None if it does not apply."""
        most = max(largest_dropout(case.module(role)) for role in ("generator", "discriminator"))
        return Change({"dropout": True}) if most > MOST_DROPOUT else None
