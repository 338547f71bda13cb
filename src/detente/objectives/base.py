"""The role of an objective: two losses from discriminator scores; every player minimises its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from detente.errors import InvalidValue


class Objective(ABC):
    """What the two players of a GAN minimise, as a function of the discriminator's scores (logits).

    A concrete objective is a frozen dataclass. `zero_sum` promises that the two losses sum to zero;
    `generator_needs_real` says that the generator's loss reads the scores of real samples too (every zero-sum
    objective does, so that the promise holds for the values and not only for the gradients); `needs_logits` that
    scores in [0, 1] make it another objective than it says.
    """

    zero_sum: ClassVar[bool] = False
    generator_needs_real: ClassVar[bool] = False
    needs_logits: ClassVar[bool] = True

    @abstractmethod
    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the discriminator's mean loss, (), from scores of real and of fake samples, each (batch,)."""

    @abstractmethod
    def generator_loss(self, real: Tensor | None, fake: Tensor) -> Tensor:
        """Return the generator's mean loss, (), from scores, each (batch,); `real` is None where it is not needed."""


class ZeroSum(Objective):
    """An objective whose generator loses exactly what the discriminator wins: L_G = −L_D."""

    zero_sum: ClassVar[bool] = True
    generator_needs_real: ClassVar[bool] = True

    def generator_loss(self, real: Tensor | None, fake: Tensor) -> Tensor:
        """Return the negative of the discriminator's loss, (), from scores, each (batch,).

        Raises:
            InvalidValue: `real` is None.
        """
        if real is None:
            raise InvalidValue("real", real, "scores of real samples, which a zero-sum loss reads")
        return -self.discriminator_loss(real, fake)
