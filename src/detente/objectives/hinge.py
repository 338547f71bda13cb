"""The hinge objective: a margin for the discriminator, a linear score for the generator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import relu

from detente.objectives.base import Objective


@dataclass(frozen=True)
class Hinge(Objective):
    """Hinge losses for the discriminator, the negative mean score for the generator; not zero-sum.

    L_D = E_real[max(0, 1 - s)] + E_fake[max(0, 1 + s)],  L_G = -E_fake[s].

    Source: Lim and Ye 2017, section 3; Miyato et al. 2018, equations 16 and 17.
    """

    needs_logits: ClassVar[bool] = False

    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return E_real[max(0, 1 - s)] + E_fake[max(0, 1 + s)], (), from scores, each (batch,)."""
        return relu(1 - real).mean() + relu(1 + fake).mean()

    def generator_loss(self, real: Tensor | None, fake: Tensor) -> Tensor:
        """Return -E_fake[s], (), from scores, (batch,); `real` is not used."""
        return -fake.mean()
