"""Another normalisation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from detente.cures.base import SURE, Case, Change, Cure
from detente.modules.replaced_layers import has_idle_norms, has_layers


class OtherNormalisation(Cure):
    """Replace the discriminator's BatchNorm by layer norm, and repair normalisation that does not work.

    In both networks, normalisation of maps of one pixel is skipped. Statistics of the generator's BatchNorm that hardly
    follow the data get their usual momentum.

    Source: Gulrajani et al. 2017 (arXiv:1704.00028), section 4 (layer norm instead of BatchNorm); Ba et al. 2016.
    """

    title: ClassVar[str] = "Another normalisation"
    treats: ClassVar[Mapping[str, float]] = {
        "normalisation": 0.8,
        "vanishing gradient": 0.5,
        "generator overpowers or discriminator dead": 0.4,
        "penalty or Lipschitz bound wrong": 0.3,
        "discriminator overpowers": 0.2,
    }
    changes_networks: ClassVar[bool] = True

    def is_certain(self, case: Case) -> bool:
        """Return whether the normalisation is surely at fault."""
        return case.sure("normalisation") >= SURE

    def __call__(self, case: Case) -> Change | None:
        """Return the change, or None if it does not apply."""
        applies = has_layers(case.module("discriminator")) or has_idle_norms(case.module("generator"))
        return Change({"norm": True}) if applies else None
