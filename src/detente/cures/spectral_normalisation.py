"""Spectral normalisation of the discriminator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch.nn.utils import parametrize

from detente.cures.base import Case, Change, Cure
from detente.networks.spectral_norm import LAYERS


class SpectralNormalisation(Cure):
    """Divide each weight of the discriminator by its largest singular value.

    Source: Miyato et al. 2018 (arXiv:1802.05957), algorithm 1.
    """

    title: ClassVar[str] = "Spectral normalisation in the discriminator"
    treats: ClassVar[Mapping[str, float]] = {
        "discriminator overpowers": 0.6,
        "collapse": 0.5,
        "unbounded critic": 0.7,
        "blow-up": 0.4,
        "oscillation or limit cycle": 0.3,
        "penalty or Lipschitz bound wrong": 0.4,
    }
    changes_networks: ClassVar[bool] = True

    def __call__(self, case: Case) -> Change | None:
        """Return the change, or None if it does not apply."""
        layers = [part for part in case.module("discriminator").modules() if isinstance(part, LAYERS)]
        plain = len(layers) > 0 and not any(parametrize.is_parametrized(layer) for layer in layers)
        return Change({"spectral_norm": True}) if plain else None
