"""The usual objective in practice: the generator maximises the probability that its samples look real."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import logsigmoid

from detente.objectives.base import Objective


@dataclass(frozen=True)
class NonSaturating(Objective):
    """Cross-entropy for the discriminator, cross-entropy with flipped labels for the generator; not zero-sum.

    L_D = -E_real[log σ(s)] - E_fake[log(1 - σ(s))],  L_G = -E_fake[log σ(s)].

    Each sample's gradient has the same direction as in the saturating game, with weight 1 - σ(s) instead of σ(s).

    Source: Goodfellow et al. 2014, section 3.
    """

    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return -E_real[log σ(s)] - E_fake[log(1 - σ(s))], () in nats, from logits, each (batch,)."""
        return -logsigmoid(real).mean() - logsigmoid(-fake).mean()

    def generator_loss(self, real: Tensor | None, fake: Tensor) -> Tensor:
        """Return -E_fake[log σ(s)], () in nats, from logits, (batch,); `real` is not used."""
        return -logsigmoid(fake).mean()
