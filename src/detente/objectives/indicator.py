"""The linear objective with an unbounded critic, whose best value is 0 for equal distributions and ∞ otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from detente.objectives.base import Objective


@dataclass(frozen=True)
class Indicator(Objective):
    """Linear scores without any bound on the critic: the variational form of the indicator divergence.

    L_D = E_fake[s] - E_real[s],  L_G = -E_fake[s].

    The gradients are those of `Wasserstein`; the generator's loss leaves out the real samples, as in the paper's code,
    so the losses do not sum to zero though the game is zero-sum in its gradients.

    Source: Mescheder, Nowozin and Geiger 2017, section 2.1 and code (`indicator`).
    """

    needs_logits: ClassVar[bool] = False

    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return E_fake[s] - E_real[s], (), from scores, each (batch,)."""
        return fake.mean() - real.mean()

    def generator_loss(self, real: Tensor | None, fake: Tensor) -> Tensor:
        """Return -E_fake[s], (), from scores, (batch,); `real` is not read."""
        return -fake.mean()
