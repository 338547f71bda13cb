"""More latents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import nn

from detente.cures.base import Case, Change, Cure

FEW, ENOUGH = 8, 32  # latents for samples of 64 or more numbers


class MoreLatents(Cure):
    """Make samples of many numbers from about 32 latents instead of a few; the generator's first layer is replaced.

    Source: Facco et al. 2017, Estimating the Intrinsic Dimension of Datasets (MNIST: about 13), of pictures.
    """

    title: ClassVar[str] = "More latents"
    treats: ClassVar[Mapping[str, float]] = {"collapse": 0.6, "oscillation or limit cycle": 0.3}
    changes_networks: ClassVar[bool] = True

    def is_certain(self, case: Case) -> bool:
        """Return whether there are hardly any latents."""
        return self(case) is not None and case.sure("collapse") > 0 and case.game.latent_shape[0] < 3

    def __call__(self, case: Case) -> Change | None:
        """Return the change, or None if it does not apply."""
        shape = getattr(case.game, "latent_shape", ())
        first = next((x for x in case.module("generator").modules() if isinstance(x, nn.Linear)), None)
        if len(shape) != 1 or shape[0] >= FEW or case.real[0].numel() < 64 or first is None:
            return None
        return Change({"more_latents": ENOUGH // shape[0]}) if first.in_features == shape[0] else None
