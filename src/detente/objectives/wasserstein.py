"""The difference of mean scores: the Wasserstein-1 distance if the critic is 1-Lipschitz."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from detente.objectives.base import ZeroSum


@dataclass(frozen=True)
class Wasserstein(ZeroSum):
    """Zero-sum difference of mean scores; a gradient penalty or clipped weights must bound the critic.

    L_D = E_fake[s] - E_real[s],  L_G = -L_D.

    Source: Arjovsky, Chintala and Bottou 2017, equation 2.
    """

    needs_logits: ClassVar[bool] = False

    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return E_fake[s] - E_real[s], (), from scores, each (batch,)."""
        return fake.mean() - real.mean()
