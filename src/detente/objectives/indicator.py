"""The linear objective with an unbounded critic: its best value is 0 for equal distributions and ∞ otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from detente.objectives.base import Objective


@dataclass(frozen=True)
class Indicator(Objective):
    """Linear scores without any bound on the critic: the variational form of the indicator divergence.

    L_D = E_fake[s] - E_real[s],  L_G = -E_fake[s].

    The gradients are those of `Wasserstein`. As in the paper's code, the generator's loss omits the real samples, so
    the losses do not sum to zero although the gradients are those of a zero-sum game.

    Source: Mescheder, Nowozin and Geiger 2017, section 2.1 and code (`indicator`).
    """

    needs_logits: ClassVar[bool] = False

    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return E_fake[s] - E_real[s], (), from scores, each (batch,)."""
        return fake.mean() - real.mean()

    def generator_loss(self, real: Tensor | None, fake: Tensor) -> Tensor:
        """Return -E_fake[s], (), from scores, (batch,); `real` is not used."""
        return -fake.mean()
