"""The difference of mean scores: the Wasserstein-1 distance where the critic is 1-Lipschitz."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from detente.errors import InvalidValue
from detente.objectives.base import Objective


@dataclass(frozen=True)
class Wasserstein(Objective):
    """Zero-sum difference of mean scores; the critic needs a gradient penalty or clipped weights to be bounded.

    L_D = E_fake[s] - E_real[s],  L_G = -L_D.

    Source: Arjovsky, Chintala and Bottou 2017, equation 2.
    """

    zero_sum: ClassVar[bool] = True
    generator_needs_real: ClassVar[bool] = True

    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return E_fake[s] - E_real[s], (), from scores, each (batch,)."""
        return fake.mean() - real.mean()

    def generator_loss(self, real: Tensor | None, fake: Tensor) -> Tensor:
        """Return E_real[s] - E_fake[s], (), from scores, each (batch,).

        Raises:
            InvalidValue: `real` is None.
        """
        if real is None:
            raise InvalidValue("real", real, "scores of real samples, which a zero-sum loss reads")
        return -self.discriminator_loss(real, fake)
