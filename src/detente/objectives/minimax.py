"""The objective of the original paper: the generator minimises what the discriminator maximises."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import logsigmoid

from detente.objectives.base import ZeroSum


@dataclass(frozen=True)
class Minimax(ZeroSum):
    """Saturating, zero-sum GAN: cross-entropy for the discriminator, and its negative for the generator.

    L_D = -E_real[log σ(s)] - E_fake[log(1 - σ(s))],  L_G = -L_D.

    The generator's gradient vanishes if the discriminator is confident that the samples are fake.

    Source: Goodfellow et al. 2014, equation 1; `JS` in the code of Mescheder et al. 2017 has the same gradients.
    """

    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return -E_real[log σ(s)] - E_fake[log(1 - σ(s))], () in nats, from logits, each (batch,)."""
        return -logsigmoid(real).mean() - logsigmoid(-fake).mean()
