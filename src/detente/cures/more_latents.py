"""More latents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import nn

from detente.cures.base import Case, Change, Cure

FEW, ENOUGH = 8, 32  # latents
HARDLY = 3  # fewer latents are hardly any


class MoreLatents(Cure):
    """Make samples from about 32 latents instead of a few, or of fewer than a sample has numbers.

    The generator's first layer is replaced.

    Source: Facco et al. 2017, Estimating the Intrinsic Dimension of Datasets (MNIST: about 13), of pictures.
    """

    title: ClassVar[str] = "More latents"
    treats: ClassVar[Mapping[str, float]] = {"collapse": 0.6, "oscillation or limit cycle": 0.3}
    changes_networks: ClassVar[bool] = True

    def is_certain(self, case: Case) -> bool:
        """Return whether there are hardly any latents."""
        few = self(case) is not None and case.game.latent_shape[0] < HARDLY
        return few and case.sure("collapse") > 0

    def __call__(self, case: Case) -> Change | None:
        """Return the change, or None if it does not apply."""
        shape = getattr(case.game, "latent_shape", ())
        first = next((x for x in case.module("generator").modules() if isinstance(x, nn.Linear)), None)
        if len(shape) != 1 or shape[0] >= min(FEW, case.real[0].numel()) or first is None:
            return None
        return Change({"more_latents": ENOUGH // shape[0]}) if first.in_features == shape[0] else None
