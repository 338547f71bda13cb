"""The relativistic objective, which compares real and generated samples in pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import softplus

from detente.errors import InvalidValue, require
from detente.objectives.base import Objective


@dataclass(frozen=True)
class Relativistic(Objective):
    """Compares the score of each real sample with that of one generated sample; not zero-sum.

    L_D = mean softplus(−(s_real − s_fake)),  L_G = mean softplus(−(s_fake − s_real)), over the pairs of a batch.

    Maps of scores are paired position by position, so both must have the same shape.

    Only differences matter, so scores need not be large, and the generator's loss also uses real samples. Training
    converges with R1 and R2 penalties, but not without them.

    Source: Jolicoeur-Martineau 2018, The relativistic discriminator (arXiv:1807.00734), RSGAN; Huang et al.
        2024, The GAN is dead; long live the GAN! (R3GAN, arXiv:2501.05441), section 2, and the authors' code.
    """

    generator_needs_real: ClassVar[bool] = True

    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return mean softplus(s_fake − s_real), () in nats, from scores of real and fake samples, each (batch,)."""
        _require_pairs(real, fake)
        return softplus(fake - real).mean()

    def generator_loss(self, real: Tensor | None, fake: Tensor) -> Tensor:
        """Return mean softplus(s_real − s_fake), () in nats, from scores, each (batch,).

        Raises:
            InvalidValue: `real` is None.
        """
        if real is None:
            raise InvalidValue("real", real, "scores of real samples, which are paired with generated samples")
        _require_pairs(real, fake)
        return softplus(real - fake).mean()


def _require_pairs(real: Tensor, fake: Tensor) -> None:
    allowed = f"the shape of the real scores, {tuple(real.shape)}, since scores are compared in pairs"
    require(real.shape == fake.shape, "fake", tuple(fake.shape), allowed)
