"""Activations through which a gradient passes, and which are not linear."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from detente.cures.base import Case, Change, Cure
from detente.modules.replaced_activations import has_idle_activations

CERTAIN = 0.6


class OtherActivations(Cure):
    """Replace several hidden sigmoids, or LeakyReLU of a slope near 1, by LeakyReLU of slope 0.2, or add it.

    Each sigmoid passes at most a quarter of a gradient. A network of almost linear activations, or of none, is linear:
    as a discriminator it compares means only.

    Source: Glorot & Bengio 2010, section 3 (sigmoids in deep networks); Radford et al. 2016 (arXiv:1511.06434) for the
        slope.
    """

    title: ClassVar[str] = "LeakyReLU as the hidden activation"
    treats: ClassVar[Mapping[str, float]] = {
        "vanishing gradient": 0.75,
        "wiring": 0.7,
        "generator overpowers or discriminator dead": 0.6,
        "collapse": 0.4,
        "discriminator overpowers": 0.3,
        "oscillation or limit cycle": 0.3,
    }
    changes_networks: ClassVar[bool] = True

    def is_certain(self, case: Case) -> bool:
        """Return whether the activations are probably at fault: the gradient vanishes, or the players are too weak."""
        return max(map(case.sure, list(self.treats)[:4])) >= CERTAIN

    def __call__(self, case: Case) -> Change | None:
        """Return the change, or None if it does not apply."""
        applies = any(has_idle_activations(case.module(role)) for role in ("generator", "discriminator"))
        return Change({"activations": True}) if applies else None
