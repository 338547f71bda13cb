"""Latents of unit size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from detente.cures.base import Case, Change, Cure
from detente.games.data_units import LATENT_SIZES, latent_size


class UnitLatents(Cure):
    """Divide the generator's latents by their size, if it is far from 1.

    Source: LeCun, Bottou, Orr & Müller 1998, Efficient BackProp, section 4.3 (inputs of unit size).
    """

    title: ClassVar[str] = "Latents of unit size"
    treats: ClassVar[Mapping[str, float]] = {"data scale": 0.8, "vanishing gradient": 0.5, "blow-up": 0.4}
    certain: ClassVar[bool] = True

    def __call__(self, case: Case) -> Change | None:
        """Return the change, or None if it does not apply."""
        size = latent_size(case.gan)
        fits = size is None or size == 0 or LATENT_SIZES[0] <= size <= LATENT_SIZES[1]
        return None if fits else Change({"latent_scale": float(f"{size:.2g}")})
